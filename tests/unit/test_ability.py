# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a stack from its work is told, with what to do; what nobody knows is no problem."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import ability, limits, ownership
from ansible_collections.meywd.tamma.plugins.module_utils.ability import Finding
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.elsa import Reply
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result

TOKEN = "ghp_not-a-token-of-anybody"
SETTINGS = {"GITHUB_TOKEN": TOKEN, "GITHUB_OWNER": "example", "GITHUB_REPO": "a b"}


class Fake:
    """A stack of which one service works on issues, on this machine instead of in a container."""

    def __init__(self, directory: Path, path: str, **environment: str) -> None:
        self.name, self.directory, self.settings = "tamma", "/opt/tamma", dict(SETTINGS)
        labels = {ability.AGENT_LABEL: "claude", ownership.LABEL: f"{directory} /app/logs"}
        names = {"tamma-engine": labels, "tamma-api-dotnet": {}}
        services = {name: Service(name, "image", 1, {}, [], [], of_it, "") for name, of_it in names.items()}
        self.project = Project("tamma", services, [])
        inspected = {
            "Mounts": [{"Destination": str(directory)}],
            "State": {"StartedAt": "2026-01-01T00:00:00Z"},
        }
        self.engine = SimpleNamespace(
            kind="docker",
            container=lambda _identifier: inspected,
            containers=lambda _project: [{"Id": "one", "Labels": {SERVICE_LABEL: "tamma-api"}}],
        )
        self.compose = SimpleNamespace(run=self._run)
        self._environment = {"PATH": path, **environment}
        self.up = True

    def running(self, _service: str) -> list[dict[str, Any]]:
        return [{"Id": "one"}] if self.up else []

    def _run(self, *words: str, timeout: float) -> Result:
        assert words[:3] == ("exec", "-T", "tamma-engine")
        assert timeout
        done = subprocess.run(
            ["/bin/sh", *words[4:]], env=self._environment, capture_output=True, text=True, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path for programs, with an agent on it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    agent = programs / "claude"
    agent.write_text("#!/bin/sh\nexit 1\n")
    agent.chmod(0o755)
    return f"{programs}:/usr/bin:/bin"


def engine(fake: Any) -> list[Finding]:
    return ability.engine(fake)


def test_an_engine_that_can_work_is_not_complained_about(tmp_path: Path, path: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    assert engine(Fake(work, path)) == []
    assert list(work.iterdir()) == []


def test_an_engine_without_its_agent(tmp_path: Path) -> None:
    (found,) = engine(Fake(tmp_path, "/usr/bin:/bin"))
    assert found.severity == "problem"
    assert found.words.startswith("The image of tamma-engine has no program claude, so no issue is worked on")
    assert "(ENGINE_IMAGE in tamma_stack_environment)" in found.words
    assert found.words.endswith("('docker compose stop tamma-engine' in /opt/tamma).")
    assert engine(Fake(tmp_path, "/usr/bin:/bin", TAMMA_AGENT_PROVIDER="openai")) == []
    assert len(engine(Fake(tmp_path, "/usr/bin:/bin", TAMMA_AGENT_PROVIDER="anthropic"))) == 1


def test_an_engine_that_cannot_write(tmp_path: Path, path: str) -> None:
    (found,) = engine(Fake(tmp_path / "missing", path))
    assert found.severity == "problem"
    assert found.words.startswith(f"tamma-engine cannot write to {tmp_path}/missing as its own user: run site.yml")


def test_an_engine_that_nobody_can_look_into(tmp_path: Path, path: str) -> None:
    fake = Fake(tmp_path, path)
    fake.compose.run = lambda *_words, **_how: Result(1, "", "no such container")
    (found,) = engine(fake)
    assert found.severity == "advice"
    fake.up = False
    assert engine(fake) == []


def test_a_look_that_fails_hides_no_other(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = Fake(tmp_path, path)

    def fail(*_words: object, **_how: object) -> Result:
        raise OperatorError("It takes too long.")

    fake.compose.run = fail
    (found,) = engine(fake)
    assert found.words.startswith("Nobody could look into tamma-engine")
    told = Finding("problem", "told")
    for name in ("beside", "tables"):
        monkeypatch.setattr(ability, name, fail)
    monkeypatch.setattr(ability, "github", lambda _settings: [told])
    monkeypatch.setattr(ability, "sync", lambda _stack: [])
    assert ability.examine(fake) == [found, told]


def test_a_stack_from_before_has_nobody_to_look_at(tmp_path: Path, path: str) -> None:
    fake = Fake(tmp_path, path)
    fake.project.services["tamma-engine"].labels.clear()
    assert engine(fake) == []


@pytest.mark.parametrize(
    ("state", "told"),
    [({"state": "PLANNING"}, True), ({"state": "IDLE"}, False), ({}, False), (None, False), ([], False)],
)
def test_two_engines_at_work(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch, state: object, told: bool
) -> None:
    fake: Any = Fake(tmp_path, path)
    monkeypatch.setattr(ability, "addresses_of", lambda *_given: ["10.0.0.2"])
    monkeypatch.setattr(ability, "ask", lambda _url, **_how: Reply(200, state))
    found = ability.beside(fake)
    assert [item.severity for item in found] == (["problem"] if told else [])
    assert all("at work beside tamma-engine" in item.words for item in found)
    # The one that should be.
    services = fake.project.services
    services["tamma-api"] = services.pop("tamma-engine")
    assert ability.beside(fake) == []


@contextmanager
def answering(
    status: int, content: Any = None, headers: dict[str, str] | None = None
) -> Iterator[tuple[Any, list[Any]]]:
    """A GitHub that gives one answer to everything; yields how it is reached, and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield lambda: http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5), asked
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "content", "headers", "severity", "words"),
    [
        (200, {"permissions": {"push": True}}, {}, "", ""),
        (200, {}, {}, "", ""),
        (200, None, {}, "", ""),
        (200, {"permissions": {"push": False}}, {}, "problem", "may read example/a b and not write to it: set another"),
        (
            401,
            {},
            {},
            "problem",
            "GitHub refuses the token: it is wrong, expired or revoked; set another one in tamma_stack",
        ),
        (403, {}, {}, "problem", "does not let the token use example/a b"),
        (403, {}, {"X-RateLimit-Remaining": "0"}, "advice", "asked GitHub too often"),
        (404, {}, {}, "problem", "no repository example/a b for this token: check tamma_stack_github_owner"),
        (301, {}, {"Location": "http://127.0.0.1:1/"}, "problem", "no repository example/a b"),
        (502, {}, {}, "advice", "answers 502 for example/a b"),
    ],
)
def test_what_github_says_of_the_token(
    status: int, content: Any, headers: dict[str, str], severity: str, words: str
) -> None:
    with answering(status, content, headers) as (connect, asked):
        found = ability.github(SETTINGS, connect)
    assert asked == [("/repos/example/a%20b", "Bearer " + TOKEN)]
    assert [item.severity for item in found] == ([severity] if severity else [])
    assert all(words in item.words and TOKEN not in item.words for item in found)


def test_a_github_that_does_not_answer_is_nobodys_fault() -> None:
    (found,) = ability.github(SETTINGS, lambda: http.client.HTTPConnection("127.0.0.1", 1, timeout=1))
    assert found.severity == "advice"
    assert "(Connection refused)" in found.words
    assert "tamma_stack_check_github" in found.words


@pytest.mark.parametrize("missing", ["GITHUB_TOKEN", "GITHUB_OWNER"])
def test_without_a_token_nobody_is_asked(missing: str) -> None:
    assert ability.github({**SETTINGS, missing: ""}, lambda: pytest.fail("somebody is asked")) == []


def test_a_token_that_is_no_header_is_not_shown() -> None:
    with answering(200) as (connect, asked):
        for broken in ("two\nlines", "ключ"):
            (found,) = ability.github({**SETTINGS, "GITHUB_TOKEN": broken}, connect)
            assert broken not in found.words
    assert asked == []


class Session:
    """A database that lacks some tables."""

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def query(self, statement: str) -> list[list[str]]:
        assert "('stories')" in statement
        return [[name] for name in self.missing]


def test_tables_that_are_not_there(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = Fake(tmp_path, path)
    missing = ["mentorship_events", "stories"]
    monkeypatch.setattr(ability, "Database", lambda _stack: SimpleNamespace(session=lambda: Session(missing)))
    (found,) = ability.tables(fake)
    assert found.words.startswith("The database lacks mentorship_events, stories, so what asks the mentorship API")
    missing.clear()
    assert ability.tables(fake) == []

    def refuse(_stack: Any) -> None:
        raise OperatorError("It does not answer.")

    monkeypatch.setattr(ability, "Database", refuse)
    assert ability.tables(fake) == []
    # Lite has no such service.
    del fake.project.services["tamma-api-dotnet"]
    monkeypatch.setattr(ability, "Database", lambda _stack: pytest.fail("the database is asked"))
    assert ability.tables(fake) == []


@pytest.mark.parametrize(
    ("count", "known", "limited", "told"),
    [
        (3, [], False, True),
        (3, [], True, False),
        (3, [{"id": "w"}], False, False),
        (0, [], False, False),
        (3, None, False, False),
    ],
)
def test_workflows_that_do_not_arrive(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch, count: int, known: Any, limited: bool, told: bool
) -> None:
    fake: Any = Fake(tmp_path, path)
    elsa = SimpleNamespace(ask=lambda _path, **_how: Reply(200, {"totalCount": count}))
    monkeypatch.setattr(limits, "services_of", lambda *_given: [limits.Services(elsa, "http://api", "")])
    monkeypatch.setattr(limits, "found", lambda _services: [limits.TABLE[0].words] if limited else [])
    monkeypatch.setattr(ability, "ask", lambda _url, **_how: Reply(200, known))
    found = ability.sync(fake)
    assert [item.severity for item in found] == (["problem"] if told else [])
    assert all("ELSA has 3 workflows and none has arrived" in item.words for item in found)
    # A container that has just started has not been told of any yet.
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fake.engine.container = lambda _identifier: {"State": {"StartedAt": moment}}
    assert ability.sync(fake) == []


def test_the_switch_asks_nobody_outside(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = Fake(tmp_path, path)
    asked: list[object] = []
    for name in ("engine", "beside", "tables", "sync"):
        monkeypatch.setattr(ability, name, lambda _stack: [])
    monkeypatch.setattr(ability, "github", lambda settings: asked.append(settings) or [])
    ability.examine(fake)
    fake.settings[ability.SWITCH] = "false"
    ability.examine(fake)
    assert len(asked) == 1
