# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the way of an operation on the database, and for whom one waits; against a server that answers as asked."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import bystanders
from ansible_collections.meywd.tamma.plugins.module_utils.bystanders import Waiting, affected, obstacles

SINCE = "2026-01-01 12:00:00+00"
#: A report that somebody makes, and the stack's own API.
REPORT = ["70", "report", "psql", "client backend", SINCE, "t", "t"]
API = ["71", "tamma", "", "client backend", SINCE, "f", "t"]


def server(**answers: list[list[Any]]) -> Any:
    """Answers by the first of these words that is in what is asked; everything else has no rows."""

    def query(statement: str, *_values: str) -> list[list[Any]]:
        return next((rows for word, rows in answers.items() if word in statement), [])

    return query


def test_nobody_is_in_the_way_of_an_idle_database() -> None:
    assert obstacles(server(), "tamma") == []
    assert affected(server(), "tamma", []) == []


def test_a_prepared_transaction_is_named_with_what_ends_it() -> None:
    (words,) = obstacles(server(pg_prepared_xacts=[["it's", "report", SINCE]]), "tamma")
    assert "the prepared transaction 'it''s' of the user report, since %s" % SINCE in words
    assert "COMMIT PREPARED 'it''s' or ROLLBACK PREPARED 'it''s'" in words


def test_only_a_session_that_the_role_may_not_end_is_in_the_way() -> None:
    sessions = [REPORT, [*REPORT[:6], "f"]]
    (words,) = obstacles(server(backend_type=sessions), "tamma")
    assert words.startswith('Process 70 (user report, client backend "psql", in a transaction since %s)' % SINCE)
    assert "SELECT pg_terminate_backend(70)" in words


def test_everybody_but_the_services_is_told_of_as_cut_off() -> None:
    known = server(
        client_addr=[["70", "10.0.0.9"], ["71", "10.0.0.2"]],
        backend_type=[REPORT, API],
        pg_replication_slots=[["copies"]],
        pg_subscription=[["news", "t"], ["asleep", "f"]],
    )
    assert affected(known, "tamma", ["10.0.0.2"]) == [
        'process 70 (user report, client backend "psql", in a transaction since %s)' % SINCE,
        "the client of the replication slot copies",
        "the subscription news",
    ]


class Clock:
    """Tells any time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(bystanders.time, "monotonic", found)
    return found


def test_who_waits_for_a_lock_says_for_whose_and_gives_up(clock: Clock) -> None:
    told: list[str] = []
    ended: list[str] = []
    holder = [["report", "psql", "client backend", SINCE, "t"]]

    def query(statement: str, *values: str) -> list[list[Any]]:
        if "pg_cancel_backend" in statement:
            ended.extend(values)
        return [["80", "{70}"]] if "pg_blocking_pids" in statement else holder if "WHERE pid" in statement else []

    waiting = Waiting(query, "ours", 60, lambda _phase, words: told.append(words))
    for seconds in (0, 1, 30, 29.5):
        clock.now += seconds
        waiting.look()
    name = 'process 70 (user report, client backend "psql", in a transaction since %s)' % SINCE
    # Once, and again when somebody who looks may think that nothing goes on.
    assert told == ["for a lock of %s, at most 60 s" % name] * 3
    assert ended == ["80"]
    assert waiting.gave_up
    assert waiting.holders == [name]


def test_who_waits_no_longer_has_waited_for_nobody(clock: Clock) -> None:
    waits = True

    def query(statement: str, *_values: str) -> list[list[Any]]:
        assert "pg_cancel_backend" not in statement
        return [["80", "{0}"]] if waits and "pg_blocking_pids" in statement else []

    waiting = Waiting(query, "ours", 60, lambda *_: None)
    waiting.look()
    assert waiting.holders == ["a prepared transaction"]
    waits = False
    clock.now += 61
    waiting.look()
    assert waiting.holders == []
    assert not waiting.gave_up
