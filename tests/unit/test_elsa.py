# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container answers is not trusted: an answer may be wrong, endless, or lead elsewhere."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import authority, elsa
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from tests.unit.servers import Answers, running, web_server


def asked(status: int, body: Any, **how: Any) -> tuple[elsa.Reply, list[tuple[str, str]]]:
    answers: Answers = {"GET /it": (status, body)}
    with running(web_server(), answers) as server:
        reply = elsa.ask("http://127.0.0.1:%d/it" % server.server_address[1], **how)
        return reply, server.requests


@pytest.mark.parametrize(
    ("status", "body", "content"),
    [
        (200, {"a": 1}, {"a": 1}),
        (200, b"no JSON", None),
        (200, b"\xff", None),
        (200, b"[" * 200_000, None),
        (500, {"a": 1}, None),
    ],
)
def test_an_answer_is_read_or_is_none(status: int, body: Any, content: Any) -> None:
    assert asked(status, body)[0] == elsa.Reply(status, content)


def test_an_answer_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsa, "_BYTES", 1000)
    assert asked(200, b" " * 900 + b"{}")[0] == elsa.Reply(200, {})
    assert asked(200, b" " * 90_000 + b"{}")[0] == elsa.Reply(200, None)


def test_nobody_who_is_asked_leads_elsewhere() -> None:
    reply, requests = asked(302, None, headers={"Authorization": "ApiKey x"})
    assert reply == elsa.Reply(302, None)
    assert len(requests) == 1


class Drip:
    """An answer that comes a byte at a time."""

    def read1(self, _size: int) -> bytes:
        time.sleep(0.01)
        return b" "


def test_an_answer_that_never_ends_is_given_up() -> None:
    answer: Any = Drip()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        elsa.read_bounded(answer, began + 0.1)


@pytest.mark.parametrize("body", [b"[" * 200_000, b"no JSON"])
def test_an_authority_that_answers_rubbish_is_advice(body: bytes) -> None:
    answers: Answers = {"GET /.well-known/openid-configuration": (200, body)}
    with running(web_server(), answers) as server:
        (advice,) = authority.advice("http://127.0.0.1:%d" % server.server_address[1])
    assert "it answers no JSON" in advice


@pytest.mark.parametrize("items", ["text", [1], [None], [{"status": "Finished"}], {"id": 1}, 7])
def test_instances_in_a_form_that_is_not_elsas(items: Any) -> None:
    answers: Answers = {"GET /elsa/api/workflow-instances": (200, {"items": items})}
    with running(web_server(), answers) as server, pytest.raises(OperatorError, match="another form than known"):
        elsa.Elsa("http://127.0.0.1:%d" % server.server_address[1]).ended(1e12)


def test_instances_without_an_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsa, "_PAGES", 3)
    page = {"items": [{"id": str(number)} for number in range(elsa._PAGE)]}
    answers: Answers = {"GET /elsa/api/workflow-instances": (200, page)}
    with running(web_server(), answers) as server:
        assert elsa.Elsa("http://127.0.0.1:%d" % server.server_address[1]).ended(1e12) == []
        assert len(server.requests) == 3
