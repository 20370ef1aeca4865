# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine of today that can work: it can write, its agent has its keys, and no other engine takes its issues."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench import releases
from tests.bench.names import REGISTRY_ADDRESS
from tests.bench.patience import scaled, wait_until
from tests.integration.conftest import CANARIES, Stack
from tests.integration.production import PRODUCTION, Production, goes_on, seconds_held
from tests.tools.outcome import Outcome

pytestmark = pytest.mark.other_stack

VOLUME = "/var/lib/docker/volumes/tamma_tamma-engine-workdir/_data"
#: What the engine starts: it leaves behind what it finds in its environment.
AGENT = "#!/bin/sh\nenv > /workspace/agent.new && mv /workspace/agent.new /workspace/agent\n"
IMAGES = {
    f"{name}_IMAGE": f"{REGISTRY_ADDRESS}/{image}"
    for name, image in (("POSTGRES", "postgres:15"), ("RABBITMQ", "rabbitmq:3"), ("CADDY", "caddy:2"))
}
MOUNT = {"volumes": ["/root/claude:/usr/local/bin/claude:ro"]}
KEYS = {"ANTHROPIC_API_KEY": "tamma_stack_anthropic_api_key", "GITHUB_TOKEN": "tamma_stack_github_token"}
WITH_AGENT: dict[str, Any] = {
    **PRODUCTION,
    "tamma_stack_version": releases.TODAY,
    "tamma_stack_elsa_api_key": "",
    "tamma_stack_overrides": {"services": {"tamma-engine": MOUNT, "tamma-api": MOUNT}},
}


class Working:
    """A stack in production whose engine looks for issues all the time."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def site(self, *options: str, **variables: Any) -> Outcome:
        settings = {**IMAGES, "TAMMA_POLL_INTERVAL_MS": "1000"}
        return self.stack.play(
            "site", *options, variables={**WITH_AGENT, "tamma_stack_environment": settings, **variables}
        )

    def deploy(self, **variables: Any) -> Outcome:
        outcome = self.site(**variables)
        assert outcome.status == 0, outcome.output
        return outcome

    def forget(self) -> None:
        """Forget what former agents had."""
        self.stack.shell(f"rm -f {VOLUME}/agent")

    def agent(self) -> dict[str, str]:
        """What the next agent has in its environment."""
        text = wait_until(lambda: self.stack.shell(f"cat {VOLUME}/agent 2>/dev/null || true"), 60, "an agent to start")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def held(self, level: str, **variables: Any) -> float:
        """For how many seconds a guarded update holds requests that brings another level of logs."""
        settings = {**IMAGES, "TAMMA_POLL_INTERVAL_MS": "1000", "TAMMA_LOG_LEVEL": level}
        outcome = self.deploy(tamma_stack_update_mode="guarded", tamma_stack_environment=settings, **variables)
        return seconds_held(outcome)

    def command(self) -> int:
        """Tell the engine inside the API to begin, from outside."""
        edge = Production(self.stack).edge()
        return edge.ask("POST", "/api/engine/command", json={"type": "no such command"}).status_code


@pytest.fixture(scope="module")
def working(stack: Stack) -> Working:
    stack.shell(f"printf %s '{AGENT}' > /root/claude && chmod 755 /root/claude")
    found = Working(stack)
    found.deploy()
    return found


def test_the_agent_has_both_keys_and_no_container_shows_them(working: Working) -> None:
    working.forget()
    found = working.agent()
    assert {name: found.get(name) for name in KEYS} == {name: CANARIES[variable] for name, variable in KEYS.items()}
    shown = working.stack.shell("docker inspect $(docker ps --all --quiet)")
    for variable in KEYS.values():
        assert CANARIES[variable] not in shown


def test_what_an_earlier_version_left_to_root_is_given_to_the_engine(working: Working) -> None:
    shell = working.stack.shell
    before = working.stack.containers()
    shell(f"mkdir -m 700 /root/target && ln -s /root/target {VOLUME}/link && chown 0:0 {VOLUME} && chmod 755 {VOLUME}")
    said = working.site("--check")
    assert "give /workspace of tamma-engine (volume tamma_tamma-engine-workdir) to the user 1001" in said.output
    assert shell(f"stat -c %u {VOLUME}").strip() == "0"
    working.deploy()
    assert shell(f"stat -c '%u %a' {VOLUME} /root/target").split() == ["1001", "755", "0", "700"]
    assert working.stack.containers() == before
    working.forget()
    assert working.agent()
    assert working.site().unchanged
    assert working.command() == 409


def test_an_open_stream_holds_no_update_up_and_comes_back(working: Working) -> None:
    quietly, with_stream = [], []
    # What else a machine does only adds: the shortest of a few counts, and more than one is seldom needed.
    for _ in range(3):
        quietly.append(working.held("debug"))
        with Production(working.stack).stream() as came:
            goes_on(came)
            with_stream.append(working.held("info"))
            goes_on(came)
        print(f"held for {quietly} s, with an open stream for {with_stream} s")
        if min(with_stream) < min(quietly) + 2:
            break
    # Ten seconds for its own end, and as many for the edge's patience, would show.
    assert min(with_stream) < min(quietly) + scaled(2)


def test_the_engine_inside_the_api_works_in_the_place_of_the_other_one(working: Working) -> None:
    working.forget()
    outcome = working.deploy(tamma_stack_engine_runs="api")
    assert "tamma-engine" not in working.stack.containers()
    found = working.agent()
    assert {name: found.get(name) for name in KEYS} == {name: CANARIES[variable] for name, variable in KEYS.items()}
    # One of today knows "start" alone, and refuses the rest by itself.
    assert working.command() == 400
    assert working.site(tamma_stack_engine_runs="api").unchanged, outcome.output
    # After a start of the container alone its engine begins as well, and the probe remembers that it has told it.
    working.stack.shell("docker restart tamma-tamma-api-1")
    working.forget()
    assert working.agent()
    assert working.stack.shell("docker exec tamma-tamma-api-1 ls /tmp/tamma-engine-started")
    # And after an update that lets requests wait, for whose time nobody works on issues.
    before = working.stack.containers()
    assert working.held("debug", tamma_stack_engine_runs="api") > 0
    after = working.stack.containers()
    assert (sorted(after), after["tamma-api"] != before["tamma-api"]) == (sorted(before), True)
    working.forget()
    assert working.agent()
    working.deploy()
    assert "tamma-engine" in working.stack.containers()
