# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a stack from its work is told, with what to do; what nobody knows is no problem."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import ability, github, limits, ownership
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
    monkeypatch.setattr(ability, "login", lambda _stack: [told])
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
    fake.engine.logs = lambda *_given: ['{"msg":"incoming request"}']
    found = ability.beside(fake)
    assert [item.severity for item in found] == (["problem"] if told else [])
    assert all("at work beside tamma-engine" in item.words for item in found)
    # The one that should be.
    services = fake.project.services
    services["tamma-api"] = services.pop("tamma-engine")
    assert ability.beside(fake) == []


@pytest.mark.parametrize(("interval", "window"), [("", 360), ("1000", 61), ("soon", 360)])
def test_an_engine_that_waits_for_its_next_look_is_known_by_its_log(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch, interval: str, window: int
) -> None:
    fake: Any = Fake(tmp_path, path)
    fake.settings["TAMMA_POLL_INTERVAL_MS"] = interval
    monkeypatch.setattr(ability, "addresses_of", lambda *_given: [])

    def logs(identifier: str, _tail: int, since: int) -> list[str]:
        assert identifier == "one"
        assert abs(time.time() - since - window) < 30
        return ['{"level":30,"msg":"Polling for next issue"}']

    fake.engine.logs = logs
    (found,) = ability.beside(fake)
    assert "at work beside tamma-engine" in found.words
    # What it wrote before its last start is over.
    moment = time.gmtime(time.time() - 10)
    fake.engine.container = lambda _identifier: {"State": {"StartedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)}}
    fake.engine.logs = lambda _identifier, _tail, since: ["Polling for next issue"] * (time.time() - since > 30)
    assert ability.beside(fake) == []


@pytest.mark.parametrize(("problem", "severity"), [(True, "problem"), (False, "advice")])
def test_github_is_asked_about_the_token_or_the_app(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch, problem: bool, severity: str
) -> None:
    fake: Any = Fake(tmp_path, path)
    fake.directory = str(tmp_path)
    asked: list[tuple[str, ...]] = []

    def say(*given: str) -> list[github.Verdict]:
        asked.append(given)
        return [github.Verdict("told", problem)]

    monkeypatch.setattr(github, "token", say)
    monkeypatch.setattr(github, "app", say)
    assert ability.login(fake) == [Finding(severity, "told")]
    # An App's key lies beside.
    fake.settings.update(GITHUB_TOKEN="", GITHUB_APP_ID="1", GITHUB_APP_INSTALLATION_ID="2")
    assert ability.login(fake) == []
    (tmp_path / "github").mkdir()
    (tmp_path / ability.APP_KEY).write_text("key")
    assert ability.login(fake) == [Finding(severity, "told")]
    assert asked == [(TOKEN, "example", "a b"), ("1", "2", "key", "example", "a b")]
    for changes in ({"GITHUB_OWNER": ""}, {"GITHUB_REPO": ""}, {ability.SWITCH: "False"}):
        fake.settings = {**SETTINGS, **changes}
        assert ability.login(fake) == []
    assert len(asked) == 2


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
