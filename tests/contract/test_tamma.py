"""The contract of tamma-api and tamma-engine, which are one program."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .asking import until
from .peers import GitHub
from .processes import Driver, Ended, Service

SERVER = "server --port {port} --host 127.0.0.1"
ENGINE = "start --mode service"
#: Where that of the processes is.
HEALTHY = Path("/tmp/tamma-engine-healthy")
DEFINITION = {"id": "d", "name": "n", "version": 1, "description": "", "activities": [], "isPublished": True}

PLAN = {
    "issueNumber": 1,
    "summary": "s",
    "approach": "a",
    "fileChanges": [],
    "testingStrategy": "t",
    "estimatedComplexity": "low",
    "risks": [],
}
#: Plays the agent: notes its directory and its keys, plans at once, and takes as long as it is told to write code.
AGENT = """#!/bin/sh
[ "$1" != --version ] || exec echo 1.0.0
{ echo "in $PWD"; env | grep -E '^(ANTHROPIC|GITHUB)_'; } >> "$AGENT_LOG"
case "$*" in
*"development plan"*) printf '%s\\n' "$AGENT_PLAN" ;;
*) sleep "${AGENT_SECONDS:-0}"; echo '{"type": "result", "subtype": "success", "result": "", "total_cost_usd": 0.01}' ;;
esac
"""


@pytest.fixture(autouse=True)
def _no_other_engine() -> Iterator[None]:
    HEALTHY.unlink(missing_ok=True)
    yield
    HEALTHY.unlink(missing_ok=True)


def stream(api: Service, path: str = "/api/engine/events/state") -> socket.socket:
    host, port = api.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: tamma\r\n\r\n" % path.encode())
    return connection


# Settings


@pytest.mark.parametrize("arguments", [SERVER, ENGINE])
@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("GITHUB_TOKEN", "GitHub token is required"),
        ("TAMMA_GITHUB_OWNER", "GitHub owner is required"),
        ("TAMMA_GITHUB_REPO", "GitHub repo is required"),
    ],
)
def test_it_refuses_to_start_without(tamma: Driver, arguments: str, missing: str, words: str) -> None:
    service = tamma.start(arguments=arguments, **{missing: None})
    assert service.ended() == 1
    assert words in service.log


def test_what_the_api_does_without(tamma: Driver) -> None:
    """No key of a model, a token in a file, and neither port nor host as variables."""
    token = tamma.folder() / "token"
    token.write_text("a-token\n")
    without: dict[str, str | None] = {"ANTHROPIC_API_KEY": None, "GITHUB_TOKEN": None}
    tamma.start(arguments=SERVER, GITHUB_TOKEN_FILE=str(token), PORT="1", HOST="missing.invalid", **without).health()


@pytest.mark.parametrize("arguments", [SERVER, ENGINE])
@pytest.mark.parametrize(
    "missing", ["", "TAMMA_GITHUB_APP_ID", "TAMMA_GITHUB_INSTALLATION_ID", "TAMMA_GITHUB_PRIVATE_KEY_PATH"]
)
def test_a_github_app_instead_of_a_token(tamma: Driver, arguments: str, missing: str) -> None:
    key = tamma.folder() / "app.pem"
    made = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
    key.write_bytes(made.private_bytes(*form, serialization.NoEncryption()))
    key.chmod(0o644)
    app: dict[str, str | None] = {
        "GITHUB_TOKEN": None,
        "TAMMA_GITHUB_AUTH_MODE": "app",
        "TAMMA_GITHUB_APP_ID": "1",
        "TAMMA_GITHUB_INSTALLATION_ID": "2",
        "TAMMA_GITHUB_PRIVATE_KEY_PATH": str(key),
    }
    service = tamma.start(arguments=arguments, **{name: value for name, value in app.items() if name != missing})
    if missing:
        assert service.ended() == 1
        assert missing in service.log
    elif arguments == SERVER:
        service.health()
    else:
        assert until(service.healthy.exists, 20)


@pytest.mark.parametrize("arguments", [SERVER, ENGINE])
def test_what_is_empty_is_passed_over(tamma: Driver, arguments: str) -> None:
    """As the Compose files give them, where nobody has set them."""
    names = (
        "TAMMA_PERMISSION_MODE TAMMA_ALLOW_BYPASS_PERMISSIONS TAMMA_AGENT_PROVIDER TAMMA_SANITIZE_CONTENT "
        "TAMMA_VALIDATE_URLS TAMMA_GATE_ACTIONS TAMMA_MAX_FETCH_SIZE_BYTES"
    )
    service = tamma.start(arguments=arguments, **dict.fromkeys(names.split(), ""))
    if arguments == SERVER:
        service.health()
    else:
        assert until(service.healthy.exists, 20)


# The API


@pytest.mark.parametrize(
    ("status", "paths"),
    [
        (200, "engine/state engine/stats engine/plan engine/history dashboard/summary"),
        (200, "workflows/definitions workflows/instances config/agents config/security config/prompts"),
        (200, "providers/health providers/diagnostics knowledge-base/index/status"),
        (200, "knowledge-base/mcp/servers knowledge-base/vector-db/collections"),
        (404, "engines events github/webhooks ../metrics ../ ../health"),
    ],
)
def test_paths(tamma: Driver, status: int, paths: str) -> None:
    api = tamma.start(arguments=SERVER).health()
    found = {path: api.ask("/" + f"api/{path}".replace("api/../", "")).status for path in paths.split()}
    assert found == dict.fromkeys(paths.split(), status)


def test_its_health_has_no_version_and_its_own_engine_is_the_only_one(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER).health()
    health = api.ask("/api/health").json()
    assert (health["status"], set(health)) == ("ok", {"status", "timestamp"})
    assert api.ask("/api/dashboard/summary").json()["engineCount"] == 1
    assert api.ask("/api/engine/state").json()["state"] == "IDLE"


def test_what_the_sync_pushes_is_forgotten_with_its_end(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER).health()
    definitions, instances = "/api/workflows/definitions", "/api/workflows/instances"
    instance = {"id": "i", "definitionId": "d", "status": "Running", "variables": {}}
    assert [api.ask(definitions, "POST", DEFINITION).status for _ in "12"] == [201, 200]
    assert api.ask(definitions, "POST", {"definitions": [DEFINITION]}).status == 400
    assert [item["id"] for item in api.ask(definitions).json()] == ["d"]
    assert api.ask(f"{instances}/i", "PUT", instance).status == 404
    assert api.ask(instances, "POST", instance).status == 201
    assert api.ask(f"{instances}/i", "PUT", instance).status == 200
    ended = api.stop()
    assert (ended.status, ended.seconds < 3) == (0, True)
    assert tamma.start(arguments=SERVER).health().ask(definitions).json() == []


def test_events_come_once_a_second_without_a_number(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER).health()
    with stream(api) as connection:
        connection.settimeout(2)
        found, end = b"", time.monotonic() + 4.5
        while time.monotonic() < end:
            found += connection.recv(4096)
    assert b"text/event-stream" in found
    assert 4 <= len(re.findall(rb"^event: state\r?$", found, re.M)) <= 6
    assert not re.search(rb"^(id|retry):", found, re.M)


def test_a_hundred_requests_a_minute_of_each_peer(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER).health()
    found = [
        api.ask("/api/engine/stats", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status for number in range(101)
    ]
    assert found == [200] * 100 + [429]
    assert api.ask("/api/health").status == 200


def test_authentication_locks_everybody_out(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER, TAMMA_ENABLE_AUTH="true", TAMMA_JWT_SECRET="x" * 40).health()
    assert api.ask("/api/engine/state").status == 401
    assert api.ask("/api/auth/login", "POST", {"username": "admin", "password": "admin"}).status == 401


def test_an_open_stream_holds_it_for_ten_seconds(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER).health()
    with stream(api) as connection:
        assert connection.recv(100)
        ended = api.stop()
    assert (ended.status, 9 < ended.seconds < 13) == (1, True)


def test_a_stream_that_was_left_holds_it_no_longer(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER).health()
    with stream(api) as connection:
        assert connection.recv(100)
    with stream(api, "/api/engine/events/logs"):
        api.ask("/api/health")
    ended = api.stop()
    assert (ended.status, ended.seconds < 5) == (0, True)


def test_of_the_log_nothing_comes_while_its_engine_does_nothing(tamma: Driver) -> None:
    api = tamma.start(arguments=SERVER).health()
    with stream(api, "/api/engine/events/logs") as connection:
        connection.settimeout(3)
        # Not even a header, by which it could be told from a request that takes long.
        with pytest.raises(TimeoutError):
            connection.recv(100)


# The engine


@pytest.mark.parametrize("interval", ["1000", "300000"])
def test_an_engine_without_an_issue_stops_at_once(tamma: Driver, interval: str) -> None:
    engine = tamma.start(arguments=ENGINE, TAMMA_POLL_INTERVAL_MS=interval)
    assert until(lambda: "Polling for next issue" in engine.log and engine.healthy.exists(), 20)
    ended = engine.stop()
    assert (ended.status, ended.seconds < 4) == (0, True)
    assert not engine.healthy.exists()


def test_it_is_healthy_whatever_it_can_do(tamma: Driver) -> None:
    engine = tamma.start(
        arguments=ENGINE, GITHUB_TOKEN="ghp_hidden", TAMMA_WORKING_DIRECTORY="/nonexistent", TAMMA_LOG_LEVEL="debug"
    )
    assert until(lambda: engine.log.count("Polling for next issue") >= 3, 15)
    assert engine.running
    assert engine.healthy.exists()
    assert "hidden" not in engine.log


# An issue


class Workplace:
    """What an engine works with: GitHub, an agent, a directory."""

    def __init__(self, driver: Driver) -> None:
        directory = driver.folder()
        self.github, self._driver, self.directory = GitHub(directory), driver, directory
        for name in ("agent", "nothing", "work"):
            (directory / name).mkdir()
        os.chown(directory / "work", driver.uid, driver.uid)
        agent, self._log = directory / "agent" / "claude", directory / "agent.log"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        self._log.touch()
        self._log.chmod(0o666)

    def agent(self) -> str:
        return self._log.read_text()

    def start(self, arguments: str = ENGINE, agent: bool = True, **settings: str | None) -> Service:
        return self._driver.start(
            arguments=arguments,
            hosts=self.github.hosts,
            programs=self.directory / ("agent" if agent else "nothing"),
            **{
                "NODE_EXTRA_CA_CERTS": str(self.github.certificate),
                "TAMMA_WORKING_DIRECTORY": str(self.directory / "work"),
                "HOME": str(self.directory / "work"),
                "AGENT_LOG": str(self._log),
                "AGENT_PLAN": json.dumps({"type": "result", "subtype": "success", "result": json.dumps(PLAN)}),
                **settings,
            },
        )


@pytest.fixture
def workplace(tamma: Driver) -> Iterator[Workplace]:
    found = Workplace(tamma)
    yield found
    found.github.end()


def test_from_the_issue_to_a_merged_pull_request(workplace: Workplace) -> None:
    engine, github = workplace.start(), workplace.github
    assert until(lambda: github.closed, 30), engine.log[-3000:]
    done = [
        f"{item.method} {item.path.partition('?')[0].removeprefix('/repos/owner/repository')}"
        for item in github.asked
        if item.method != "GET"
    ]
    assert done == [
        "POST /issues/1/assignees",
        "POST /issues/1/comments",
        "POST /git/refs",
        "POST /pulls",
        "POST /issues/2/labels",
        "POST /issues/1/comments",
        "PUT /pulls/2/merge",
        "DELETE /git/refs/heads%2Ffeature%2F1-an-issue",
        "POST /issues/1/comments",
        "PATCH /issues/1",
    ]
    assert "/releases/latest" in github.asked[0].path
    assert {item.headers["Authorization"] for item in github.of("POST")} == {"token a-token"}
    for words in (f"in {workplace.directory / 'work'}\n", "ANTHROPIC_API_KEY=a-key\n", "GITHUB_TOKEN=a-token\n"):
        assert words in workplace.agent()
    assert engine.stop().status == 0
    assert (workplace.directory / "work" / ".tamma" / "cost-data.json").is_file()


def test_keys_in_files_do_not_reach_the_agent(workplace: Workplace) -> None:
    settings: dict[str, str | None] = {}
    for name, value in (("ANTHROPIC_API_KEY", "a-key"), ("GITHUB_TOKEN", "a-token")):
        (workplace.directory / name).write_text(value + "\n")
        settings |= {name: None, name + "_FILE": str(workplace.directory / name)}
    engine = workplace.start(**settings)
    assert until(lambda: workplace.github.closed, 30), engine.log[-3000:]
    assert {item.headers["Authorization"] for item in workplace.github.of("POST")} == {"token a-token"}
    assert "=a-" not in workplace.agent()


def test_in_the_middle_of_an_issue_it_ends_after_ten_seconds_and_begins_anew(workplace: Workplace) -> None:
    engine = workplace.start(AGENT_SECONDS="60")
    assert until(lambda: workplace.agent().count("in /") == 2, 20), engine.log[-3000:]
    ended: Ended = engine.stop()
    assert (ended.status, 9 < ended.seconds < 13) == (1, True)
    assert not workplace.github.closed
    again = workplace.start()
    assert until(lambda: workplace.github.closed, 30), again.log[-3000:]
    assert workplace.github.taken() == 2


def test_without_an_agent_it_takes_the_issue_again_and_again(workplace: Workplace) -> None:
    engine = workplace.start(agent=False)
    assert until(lambda: workplace.github.taken() >= 3, 60), engine.log[-3000:]
    assert engine.running


def test_a_wrong_token_does_not_end_it(workplace: Workplace) -> None:
    workplace.github.refuses = True
    engine = workplace.start()
    assert until(lambda: len(workplace.github.of("GET", "/issues")) >= 2, 30), engine.log[-3000:]
    assert engine.running
    assert engine.healthy.exists()


@pytest.mark.parametrize("approval", ["auto", None])
def test_the_engine_of_the_api_works_when_nobody_has_to_approve(workplace: Workplace, approval: str | None) -> None:
    api = workplace.start(SERVER, TAMMA_APPROVAL_MODE=approval).health()
    assert not workplace.github.of("GET", "/issues")
    assert api.ask("/api/engine/command", "POST", {"type": "start"}).status in (200, 202)
    if approval:
        assert until(lambda: workplace.github.closed, 30), api.log[-3000:]
        assert until(lambda: api.ask("/api/engine/stats").json()["issuesProcessed"] == 1, 10)
    else:
        assert until(lambda: "Approve this plan?" in api.log, 30), api.log[-3000:]
        assert not until(lambda: workplace.github.of("POST", "/pulls"), 5)
