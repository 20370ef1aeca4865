"""What an operator gets who deploys the real services with this collection: `make real`.

Nothing in the stack is arranged for them but what every test has: registry, ports, and where GitHub is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest

from tests.bench import hosts
from tests.bench.edge import Edge
from tests.bench.load import Ask, Load
from tests.bench.names import REGISTRY_ADDRESS, cache_dir
from tests.bench.patience import scaled, wait_until
from tests.contract.peers import GitHub
from tests.integration.conftest import CANARIES, Stack
from tests.integration.production import PRODUCTION, Production, goes_on, seconds_held
from tests.tools.outcome import Outcome

from .images import STANDINS
from .pages import look
from .results import PROFILES, Results

CERTIFICATE = "/opt/github/github.pem"
EVENTS = "/api/engine/events/state"
#: Few enough for the hundred requests a minute that tamma-api answers; its health is not counted.
MIX = (Ask("GET", "/"), Ask("GET", "/api/health"), Ask("GET", "/elsa-api/health"))
SECONDS_FOR_AN_ISSUE = 90


class Deployed:
    """The stack in one profile, and the GitHub that its engine asks."""

    def __init__(self, stack: Stack, profile: str, version: str, github: GitHub) -> None:
        self.stack, self.profile, self.version, self.github = stack, profile, version, github

    def play(self, playbook: str, **variables: object) -> Outcome:
        fixed = {"POSTGRES": "postgres:15", "RABBITMQ": "rabbitmq:3", "CADDY": "caddy:2"}
        address, _, alias = self.github.hosts.read_text().splitlines()[-1].partition(" ")
        settings = {
            "tamma_stack_profile": self.profile,
            "tamma_stack_version": self.version,
            "tamma_stack_github_owner": "owner",
            "tamma_stack_github_repo": "repository",
            # The host itself reaches no GitHub.
            "tamma_stack_check_github": False,
            # ELSA knows no other key than its own.
            "tamma_stack_elsa_api_key": "",
            "tamma_stack_environment": {
                **{f"{name}_IMAGE": f"{REGISTRY_ADDRESS}/{image}" for name, image in fixed.items()},
                "TAMMA_BIND_ADDRESS": "0.0.0.0",
                "TAMMA_POLL_INTERVAL_MS": "1000",
            },
            "tamma_stack_overrides": {
                "services": {
                    service: {
                        "extra_hosts": [f"{alias}:{address}"],
                        "environment": {"NODE_EXTRA_CA_CERTS": CERTIFICATE},
                        "volumes": [f"{CERTIFICATE}:{CERTIFICATE}:ro"],
                    }
                    for service in ("tamma-api", "tamma-engine")
                }
            },
        }
        profile = PRODUCTION if self.profile == "production" else {}
        return self.stack.play(playbook, variables={**profile, **settings, **variables})

    def done(self, playbook: str, **variables: object) -> Outcome:
        outcome = self.play(playbook, **variables)
        assert outcome.status == 0, outcome.output
        return outcome

    def edge(self) -> Edge:
        return Production(self.stack).edge()

    def inspected(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.stack.shell("docker inspect $(docker ps --quiet --all)"))
        return found

    def engine(self, script: str) -> str:
        return self.stack.shell(f"docker exec tamma-tamma-engine-1 sh -c '{script}'")

    def agent(self) -> str:
        """What the agent has noted, in the directory in which it works."""
        return self.engine("cat /workspace/agent.log 2>/dev/null || true")

    def works(self) -> None:
        """Wait until the issue is closed, its pull request merged."""
        what = "the engine to take an issue to its merged pull request"
        wait_until(lambda: self.github.closed, SECONDS_FOR_AN_ISSUE, what, self.said)
        assert self.github.merged

    def said(self) -> str:
        logs = "docker compose logs --no-color --tail 30 tamma-engine tamma-api 2>&1 || true"
        return self.stack.shell(f"cd /opt/tamma && {logs}")


def service(described: dict[str, Any]) -> str:
    name = str(described["Config"]["Labels"]["com.docker.compose.service"])
    return name + "*" * (name.replace("elsa-server", "tamma-elsa") in STANDINS)


def moment(text: str) -> datetime:
    """Return a time of the engine, which tells nanoseconds and several zones."""
    whole, _, rest = text.partition(".")
    zone = "+00:00" if rest.endswith("Z") else rest[-6:]
    return datetime.fromisoformat(whole + zone).replace(microsecond=int(rest[:6]))


def seconds_to_health(described: dict[str, Any]) -> float:
    state = described["State"]
    passed = [probe for probe in state["Health"]["Log"] if probe["ExitCode"] == 0]
    return (moment(passed[0]["End"]) - moment(state["StartedAt"])).total_seconds()


@pytest.fixture(scope="module", params=PROFILES)
def deployed(
    request: pytest.FixtureRequest, host: Stack, versions: list[str], github: GitHub, results: Results
) -> Iterator[Deployed]:
    """A stack that has just come, in the order of the profiles; GitHub has nothing to do yet."""
    github.reopen()
    github.closed = True
    found = Deployed(host, request.param, versions[0], github)
    found.done("site")
    for described in sorted(found.inspected(), key=service):
        results.add(found.profile, service(described), healthy_after=f"{seconds_to_health(described):.1f} s")
    yield found
    host.remove()


def test_every_service_is_healthy_and_nothing_is_left_to_do(deployed: Deployed, results: Results) -> None:
    for described in deployed.inspected():
        assert described["State"]["Health"]["Status"] == "healthy", service(described)
        assert described["RestartCount"] == 0, service(described)
    stats = deployed.stack.shell("docker stats --no-stream --format '{{.Name}} {{.MemUsage}}'")
    used = {
        line.split()[0]: line.split()[1].replace("MiB", " MiB").replace("GiB", " GiB") for line in stats.splitlines()
    }
    for described in deployed.inspected():
        results.add(deployed.profile, service(described), memory=used[described["Name"].lstrip("/")])
    assert deployed.done("site").unchanged


def test_every_page_opens_and_no_request_fails(deployed: Deployed, results: Results) -> None:
    picture = cache_dir() / "real" / f"{deployed.profile}.png"
    if deployed.profile == "production":
        edge = deployed.edge()
        seen = look(f"https://{edge.domain}/", picture, {edge.domain: edge.address}, edge.authority, edge.login)
    else:
        (one,) = hosts.existing(deployed.stack.sandbox)
        seen = look(f"http://{one.address}:3001/", picture)
    pages = sum("#" not in name for name in seen.opened)
    opened = f"{pages} and {len(seen.opened) - pages} tabs"
    results.add(
        deployed.profile,
        "tamma-dashboard",
        pages_opened=opened,
        API_calls=str(seen.asked),
        failed=str(len(seen.failed)),
    )
    assert seen.failed == []
    assert seen.asked > pages > 1


def test_the_engine_takes_an_issue_to_the_merged_pull_request(deployed: Deployed, results: Results) -> None:
    deployed.github.reopen()
    deployed.works()
    agent = deployed.agent()
    for words in ("in /workspace as 1001", "ANTHROPIC_API_KEY=c", "GITHUB_TOKEN=c"):
        assert words in agent
    if deployed.profile == "production":
        # The agent has both keys, and whoever looks at the container from outside has neither.
        shown = json.dumps(deployed.inspected())
        for name in ("tamma_stack_anthropic_api_key", "tamma_stack_github_token"):
            assert CANARIES[name] not in shown
    token = CANARIES["tamma_stack_github_token"]
    assert {item.headers["Authorization"] for item in deployed.github.of("POST")} == {f"token {token}"}
    results.add(deployed.profile, "tamma-engine", issue_processed="yes")


@pytest.mark.parametrize("deployed", PROFILES[:1], indirect=True)
def test_an_engine_that_is_restarted_in_the_middle_begins_anew(deployed: Deployed, results: Results) -> None:
    deployed.engine("echo 60 > /workspace/agent-seconds")
    begun = deployed.agent().count("writes")
    deployed.github.reopen()
    wait_until(lambda: deployed.agent().count("writes") > begun, SECONDS_FOR_AN_ISSUE, "the agent to write")
    deployed.engine("rm /workspace/agent-seconds")
    deployed.stack.shell("docker restart --time 120 tamma-tamma-engine-1")
    deployed.works()
    assert deployed.github.taken() == 2
    results.add(deployed.profile, "tamma-engine", issue_processed="yes, also across a restart")


@pytest.mark.parametrize("deployed", PROFILES[:1], indirect=True)
def test_an_update_and_the_way_back_fail_no_request(deployed: Deployed, versions: list[str], results: Results) -> None:
    for playbook, version in (("update", versions[1]), ("rollback", versions[0])):
        deployed.version = versions[1]
        with Load(deployed.edge(), rate=5, streams=1, mix=MIX, events=EVENTS) as load:
            deployed.done(playbook)
        deployed.version = version
        assert load.failures == [], load.report()
        images = {item["Config"]["Labels"].get("org.opencontainers.image.version") for item in deployed.inspected()}
        assert images - {None} == {version}
        results.note(f"{playbook.capitalize()} in production under a small load: {load.report().splitlines()[0]}.")
    deployed.github.reopen()
    deployed.works()


@pytest.mark.parametrize("deployed", PROFILES[:1], indirect=True)
def test_open_streams_hold_no_update_up(deployed: Deployed, results: Results) -> None:
    production, held = Production(deployed.stack), []
    # Of the log nothing comes for 15 s, unless the engine inside the API works.
    for number, paths in enumerate([(), (EVENTS, "/api/engine/events/logs")]):
        with ExitStack() as stack:
            states = [stack.enter_context(production.stream(path)) for path in paths][:1]
            for came in states:
                goes_on(came)
            changes = {"tamma_stack_service_environment": {"tamma-api": {"NO_COLOR": str(number)}}}
            outcome = deployed.done("site", tamma_stack_update_mode="guarded", **changes)
            held.append(seconds_held(outcome))
            for came in states:
                goes_on(came)
    # Of 13 s more before they were cut at the edge.
    assert held[1] < held[0] + scaled(5)
    results.note(
        f"A guarded update in production held requests for {held[0]:.1f} s, and with an open stream of states and one "
        f"of logs for {held[1]:.1f} s."
    )


@pytest.mark.parametrize("deployed", PROFILES[:1], indirect=True)
def test_the_engine_inside_the_api_takes_an_issue_in_its_place(deployed: Deployed, results: Results) -> None:
    deployed.github.reopen()
    deployed.github.closed = True
    deployed.done("site", tamma_stack_engine_runs="api")
    deployed.github.reopen()
    deployed.works()
    results.add(deployed.profile, "tamma-api", issue_processed="yes, with `tamma_stack_engine_runs: api`")
