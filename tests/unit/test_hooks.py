# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody wants to happen before a release, after it, and when it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import hooks
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.hooks import AFTER, BEFORE, FAILED, Hooks

FACTS = {"stack": "tamma", "release": 3, "former": 2}


class Told(list[str]):
    """What an operator is told."""

    def __call__(self, _phase: str, words: str) -> None:
        self.append(words)


@pytest.fixture
def told() -> Told:
    return Told()


def test_without_hooks_nothing_happens(told: Told) -> None:
    for moment in (BEFORE, AFTER, FAILED):
        hooks.run(Hooks(), moment, FACTS, told)
    assert told == []


@pytest.mark.parametrize("moment", [BEFORE, AFTER, FAILED])
def test_the_command_of_the_moment_has_the_facts(moment: str, told: Told, tmp_path: Path) -> None:
    command = "echo $TAMMA_MOMENT $TAMMA_STACK $TAMMA_RELEASE $TAMMA_FORMER > %s/said" % tmp_path
    hooks.run(Hooks()._replace(**{moment: command}), moment, FACTS, told)
    assert (tmp_path / "said").read_text(encoding="utf-8") == "%s tamma 3 2\n" % moment
    for other in {BEFORE, AFTER, FAILED} - {moment}:
        hooks.run(Hooks()._replace(**{moment: "exit 1"}), other, FACTS, told)
    assert told == ["the command for '%s'" % moment]


def test_the_command_before_may_say_no(told: Told) -> None:
    with pytest.raises(OperatorError, match=r"says no: exit status 3, it is Friday\. Nothing was changed\."):
        hooks.run(Hooks(before="echo it is Friday; exit 3"), BEFORE, FACTS, told)


def test_a_later_failure_is_only_told(told: Told) -> None:
    hooks.run(Hooks(after="exit 4"), AFTER, FACTS, told)
    hooks.run(Hooks(failed="sleep 5", seconds=0.2), FAILED, FACTS, told)
    assert told[1] == "the command for 'after' failed: exit status 4"
    assert "it took longer than" in told[3]


class Webhook(BaseHTTPRequestHandler):
    """Takes what is posted, or refuses it."""

    taken: list[dict[str, object]]
    status = 204

    def do_POST(self) -> None:
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Webhook, "taken", [], raising=False)
    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d/token" % server.server_address[1]
        server.shutdown()


def test_a_webhook_is_told_of_every_moment(webhook: str, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    for moment in (BEFORE, AFTER, FAILED):
        hooks.run(Hooks(webhook=webhook), moment, FACTS, told)
    assert Webhook.taken == [{**FACTS, "moment": moment} for moment in (BEFORE, AFTER, FAILED)]
    assert told == []
    monkeypatch.setattr(Webhook, "status", 500)
    hooks.run(Hooks(webhook=webhook), AFTER, FACTS, told)
    (words,) = told
    assert words.startswith("the webhook does not take it: ")
    assert "token" not in words


@pytest.mark.parametrize(
    "address", ["hooks.example.org/T0/token", "http://a b/token", "http://a:port/token", "://token"]
)
def test_what_is_no_address_shows_no_secret(address: str, told: Told) -> None:
    hooks.run(Hooks(webhook=address), AFTER, FACTS, told)
    (words,) = told
    assert words.startswith("the webhook does not take it: ")
    assert "token" not in words
