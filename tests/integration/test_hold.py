# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that wait at the edge while what answers them is away: under load, for too long, and without an operator."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.bench import hosts
from tests.bench.edge import AUTHORITY, LOGIN, Edge
from tests.bench.load import Load
from tests.integration.conftest import SANDBOX, Stack
from tests.tools.roles import ROOT

pytestmark = pytest.mark.other_stack

MODULE_UTILS = "ansible_collections/meywd/tamma/plugins/module_utils"
OPERATOR = "/root/holding"
#: Longer than one look of the health gate, so that what is let through too early shows.
WARM_UP = {"environment": {"STANDIN_WARMUP": "3"}}
PRODUCTION = {
    "tamma_stack_profile": "production",
    "tamma_stack_edge_drain": 3,
    "tamma_stack_overrides": {
        "services": dict.fromkeys(("elsa-server", "tamma-api", "tamma-api-dotnet"), WARM_UP),
    },
}
#: What is held, both ways, and what a request with a body gets for an answer.
HELD = (
    ("GET", "/api/health", 200),
    ("POST", "/api/events", 202),
    ("GET", "/elsa-api/health", 200),
    ("POST", "/elsa-api/api/mentorship/sessions", 201),
)


class Production:
    """A stack behind its edge, and operators that hold requests there."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        (host,) = hosts.existing(SANDBOX)
        root = f"docker compose exec -T edge cat {AUTHORITY}"
        self.edge = Edge(host.domain, host.address, stack.shell(f"cd /opt/tamma && {root}"), LOGIN)

    def operator(self, *steps: str) -> str:
        return self.stack.shell(f"cd {OPERATOR} && PYTHONPATH={OPERATOR} python3 holding.py {' '.join(steps)}")

    @contextmanager
    def beside(self, *steps: str) -> Iterator[None]:
        """Let an operator work while the block runs, from when its first step is done."""
        command = ["docker", "exec", "--env", f"PYTHONPATH={OPERATOR}", self.stack.container]
        argv = [*command, "python3", f"{OPERATOR}/holding.py", *steps]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
            process.stdout.read()
        assert process.returncode == 0

    def ask_all(self) -> list[tuple[httpx.Response, float]]:
        """Ask for everything that is held, at once, and for the page; returns the answers and the seconds they took."""

        def ask(method: str, path: str) -> tuple[httpx.Response, float]:
            began = time.monotonic()
            body = {"title": "held", "message": "held"} if method == "POST" else None
            answer = self.edge.ask(method, path, json=body, seconds=60)
            return answer, time.monotonic() - began

        with ThreadPoolExecutor(len(HELD)) as pool:
            asked = [pool.submit(ask, method, path) for method, path, _ in HELD]
            assert self.edge.ask("GET", "/", seconds=5).status_code == 200
            return [one.result() for one in asked]

    def answers(self) -> bool:
        """Whether everything is answered at once."""
        return [answer.status_code for answer, _ in self.ask_all()] == [status for *_, status in HELD]


@pytest.fixture(scope="module")
def production(stack: Stack) -> Production:
    """The host in the production profile, with an operator's own files."""
    outcome = stack.play("site", variables=PRODUCTION)
    assert outcome.status == 0, outcome.output
    stack.put(ROOT / "plugins" / "module_utils", f"{OPERATOR}/{MODULE_UTILS}")
    script = (Path(__file__).parent / "holding.py").read_text(encoding="utf-8")
    stack.shell(f"cat > {OPERATOR}/holding.py << 'END'\n{script}END")
    return Production(stack)


def test_no_request_is_lost_while_everything_that_answers_is_away(production: Production) -> None:
    with Load(production.edge, rate=20, streams=2) as load:
        began = time.monotonic()
        told = production.operator("begin=60", "drain=3", "restart", "release=3")
        held = time.monotonic() - began
    print(told, load.report(), sep="\n")
    assert "release=3" in told
    assert told.splitlines()[-1].endswith("held: nothing")
    assert not load.failures, load.report()
    # Everybody waited for the release and not for more.
    assert max(load.seconds) < held + 2, load.report()


def test_who_waited_for_too_long_is_told_when_to_come_again(production: Production) -> None:
    with production.beside("begin=4", "sleep=10", "release=2"):
        for answer, seconds in production.ask_all():
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"] == "10"
            assert "is being updated" in answer.text
            assert 3.9 < seconds < 7
    assert production.answers()


def test_without_its_operator_nobody_waits_for_longer(production: Production) -> None:
    with production.beside("begin=6", "sleep=2"):
        answers = production.ask_all()
    for answer, seconds in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["Retry-After"] == "10"
        assert seconds < 9
    production.operator("release=0")
    assert production.answers()


def test_the_next_operator_goes_on_holding(production: Production) -> None:
    production.operator("begin=30")
    with production.beside("begin=30", "sleep=3", "release=2"):
        assert production.answers()
    assert production.answers()


def test_a_deploy_ends_a_hold(production: Production) -> None:
    production.operator("begin=30")
    outcome = production.stack.play("site", variables=PRODUCTION)
    assert outcome.status == 0, outcome.output
    assert "requests no longer wait" in outcome.output
    assert production.answers()
    assert production.stack.shell("find /opt/tamma -name '*.socket'") == ""
    assert production.stack.play("site", variables=PRODUCTION).unchanged
