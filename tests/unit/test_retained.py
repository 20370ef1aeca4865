# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases stay on a host, and which copy of the database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.history import FAILED, RUNNING, SERVES, Entry
from ansible_collections.meywd.tamma.plugins.module_utils.retained import divide, superfluous_guards, tag
from tests.unit.test_history import entry

HISTORIES = st.lists(st.tuples(st.sampled_from([SERVES, FAILED, RUNNING]), st.booleans()), max_size=20).map(
    lambda rows: [
        entry(number + 1, outcome=outcome, guard="guard_%d" % number if guarded else "")
        for number, (outcome, guarded) in enumerate(rows)
    ]
)


def numbers(entries: list[Entry]) -> list[int]:
    return [item.number for item in entries]


def test_the_last_ones_that_served_stay_and_the_failed_ones_among_them() -> None:
    outcomes = [SERVES, FAILED, SERVES, FAILED, SERVES, FAILED]
    known = [entry(number + 1, outcome=outcome) for number, outcome in enumerate(outcomes)]
    assert tuple(map(numbers, divide(known, 2))) == ([3, 4, 5, 6], [1, 2])
    assert tuple(map(numbers, divide(known, 9))) == ([1, 2, 3, 4, 5, 6], [])


@given(HISTORIES, st.integers(0, 10))
def test_what_serves_and_what_it_goes_back_to_stay(known: list[Entry], keep: int) -> None:
    stay, go = divide(known, keep)
    assert [*go, *stay] == known
    served = [item for item in known if item.outcome != FAILED]
    assert set(numbers(served[-max(keep, 1) :])) <= set(numbers(stay))
    assert len([item for item in stay if item.outcome != FAILED]) <= max(keep, 1)


@given(HISTORIES)
def test_the_newest_copy_of_the_database_stays(known: list[Entry]) -> None:
    superfluous = superfluous_guards(known)
    guarded = [item for item in known if item.guard]
    assert superfluous == guarded[:-1]


def test_the_tag_is_one_for_each_image() -> None:
    assert tag("sha256:" + "0123456789" * 6) == "01234567890123456789"
    assert tag("0123456789" * 6) == "01234567890123456789"
