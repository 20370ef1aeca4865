# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates of a production stack under a full load, and what takes long beside.

The scenarios molecule/update and molecule/podman-update have what every release has to hold.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.bench import data, releases
from tests.bench.edge import Edge
from tests.bench.load import MIX, SESSIONS, Load
from tests.bench.patience import scaled, wait_until
from tests.integration.conftest import Stack
from tests.integration.production import CONTAINER, PRODUCTION, Production
from tests.tools.outcome import Outcome
from tests.tools.updating import HISTORY, replaced

pytestmark = pytest.mark.other_stack

OLD, NEW = "0.2.0", "0.3.0"
DRAIN = 3
#: How long streams go on, at least, after the last request that went the same way.
STREAMS = 2
SETTINGS = {
    "tamma_stack_edge_drain": DRAIN,
    "tamma_backup_password": "a repository's throw-away password",
    # By hand, and before an update: no timer shall come between.
    "tamma_backup_schedule": {},
}
MEBIBYTES = 24
#: What every update is put under; as many requests, streams and rows a second as the issue names.
FULL: dict[str, Any] = {"rate": 50, "streams": 50, "writes": 10, "reconnect": 0}
#: Requests that write nothing to the database.
READS = [ask for ask in MIX if ask.path != SESSIONS]
#: Somebody whose stream was cut is let in at once, or waits no longer than anybody: on a busy machine, and so much.
AT_ONCE = 3
NAMES = {"postgres", "template0", "template1", "tamma"}
#: The engine is in the middle of an issue, and needs a while to finish it.
ISSUE = {"services": {"tamma-engine": {"environment": {"STANDIN_ISSUE_SECONDS": "8"}}}}


class Updates(Production):
    """A production stack with data and backups, and what is asked of it before and after an update."""

    def play(self, playbook: str, *rotate: str, **variables: object) -> Outcome:
        return super().play(playbook, *rotate, **{**SETTINGS, **variables})

    def update(self, version: str, **variables: object) -> Outcome:
        return self.play(
            "update",
            **{"tamma_stack_version": version, "tamma_stack_deadlines": {"tamma-api": int(scaled(15))}, **variables},
        )

    def renew(self) -> None:
        """Deploy the old version anew, with data, some of it written through the API."""
        self.stack.remove()
        outcome = self.play("site")
        assert outcome.status == 0, outcome.output
        data.generate(CONTAINER, MEBIBYTES)
        with Load(self.edge(), rate=20, streams=0, writes=20) as load:
            wait_until(lambda: load.written >= 40, 60, "written rows")
        assert not load.failures, load.report()
        data.ask(
            CONTAINER,
            "INSERT INTO future_reviews (session_id, verdict) SELECT id, 'well done' FROM future_sessions",
        )

    def rows(self) -> list[str]:
        return data.ask(CONTAINER, "SELECT id || ' ' || title FROM future_sessions ORDER BY id").splitlines()

    def databases(self) -> set[str]:
        """The databases beside the live one."""
        return set(data.ask(CONTAINER, "SELECT datname FROM pg_database").splitlines()) - NAMES

    def containers(self) -> dict[str, set[str]]:
        """Service → ids of its containers."""
        form = '{{.Label "com.docker.compose.service"}} {{.ID}}'
        found: dict[str, set[str]] = {}
        for line in self.stack.shell(f"docker ps --all --no-trunc --format '{form}'").splitlines():
            service, identifier = line.split()
            found.setdefault(service, set()).add(identifier)
        return found

    def versions(self) -> set[str]:
        """The versions of Tamma that run, whatever their images are called."""
        form = '{{.Label "org.opencontainers.image.version"}}'
        return set(self.stack.shell(f"docker ps --all --format '{form}'").split())

    def history(self) -> dict[str, list[str]]:
        return {schema: data.ask(CONTAINER, HISTORY.format(schema)).splitlines() for schema in releases.migrations(OLD)}

    def serves(self, version: str, **variables: object) -> None:
        """Make sure that a version answers, that nothing else runs, and that another run finds nothing to do."""
        answers = answering(self.edge())
        assert set(answers.values()) == {version}, answers
        assert self.versions() == {version}
        assert self.history() == releases.migrations(version)
        again = self.play("site", tamma_stack_version=version, **variables)
        assert again.status == 0, again.output
        assert again.unchanged, again.output

    def lost(self, load: Load) -> list[str]:
        """The acknowledged rows of a load that are not there, or that are there twice."""
        found = data.ask(CONTAINER, load.rows)
        return load.missing(found) + load.twice(found)


def answering(edge: Edge) -> dict[str, str]:
    """Which version whoever stands behind the edge says that he is."""
    paths = ("/api/health", "/elsa-api/health", "/version.json")
    return {path: edge.ask("GET", path).json()["version"] for path in paths}


@pytest.fixture(scope="module")
def production(stack: Stack) -> Updates:
    """The host in the production profile, with data."""
    found = Updates(stack)
    found.renew()
    return found


@pytest.fixture
def old(production: Updates) -> Updates:
    """The same with the old version, which serves data; what another test has left is taken away."""
    if production.versions() != {OLD} or "edge" not in production.containers() or not production.play("site").unchanged:
        production.renew()
    return production


# --- a bad release --------------------------------------------------------------------------------


def test_a_configuration_that_does_not_get_healthy_goes_back(old: Updates) -> None:
    before = data.state(CONTAINER)
    sick = {"services": {"tamma-api": {"environment": {"STANDIN_UNHEALTHY": "1"}}}}
    with Load(old.edge(), rate=20, streams=5, reconnect=0, mix=READS) as load:
        outcome = old.update(OLD, tamma_stack_overrides=sick)
    assert outcome.status == 2, outcome.output
    assert not load.failures, load.report()
    assert data.state(CONTAINER).differences(before) == []
    old.serves(OLD)


def test_a_database_that_does_not_come_up_goes_back(old: Updates) -> None:
    before = data.state(CONTAINER)
    wrong = {"services": {"postgres": {"command": ["postgres", "-c", "no_such_setting=1"]}}}
    with Load(old.edge(), rate=20, streams=5, reconnect=0, mix=READS) as load:
        outcome = old.update(OLD, tamma_stack_overrides=wrong)
    assert outcome.status == 2, outcome.output
    assert "Release 1 serves again" in outcome.output
    assert all(failure.reason.startswith("503") for failure in load.failures), load.report()
    assert data.state(CONTAINER).differences(before) == []
    old.serves(OLD)


@pytest.mark.parametrize("version", ["0.3.2-destructive", "0.3.3-failed-migration"])
def test_a_release_that_ruins_the_data_costs_no_acknowledged_row(old: Updates, version: str) -> None:
    rows = old.rows()
    with Load(old.edge(), **FULL) as load:
        outcome = old.update(version)
    print(load.report())
    assert outcome.status == 2, outcome.output
    assert old.lost(load) == []
    assert old.rows()[: len(rows)] == rows
    # A hold has a bound, and past it the edge says when to come again. Nothing else may go wrong.
    assert all(failure.reason.startswith("503") for failure in load.failures), load.report()
    old.serves(OLD)


def test_a_release_can_be_good_after_a_bad_one(old: Updates) -> None:
    assert old.update("0.3.2-destructive").status == 2
    outcome = old.update(NEW)
    assert outcome.status == 0, outcome.output
    old.serves(NEW)


# --- a good release -------------------------------------------------------------------------------


def test_a_good_release_costs_no_request_and_no_row(old: Updates) -> None:
    rows, containers = old.rows(), old.containers()
    with Load(old.edge(), **FULL) as load:
        outcome = old.update(NEW)
    print(load.report())
    assert outcome.status == 0, outcome.output
    assert not load.failures, load.report()
    assert old.lost(load) == []
    assert len(load.acknowledged) == load.written

    # A stream outlives the last request that the old version took; who comes back is let in.
    assert set(load.versions) == {OLD, NEW}
    assert load.ends, "tamma-api was replaced, so its streams have ended"
    assert min(end.second for end in load.ends) >= load.last_asked[OLD] + STREAMS, load.report()
    longest = load.slowest[0] + AT_ONCE
    assert all(end.again is not None and end.again <= longest for end in load.ends), load.report()

    assert old.rows()[: len(rows)] == rows
    assert replaced(containers, old.containers()) == set(containers) - {"postgres", "rabbitmq", "edge"}
    old.serves(NEW)
    again = old.update(NEW)
    assert again.status == 0, again.output
    assert again.unchanged, again.output


def test_check_mode_says_what_would_happen_and_does_nothing(old: Updates) -> None:
    before = data.values(CONTAINER), old.containers(), old.databases()
    outcome = old.stack.play("update", "--check", variables={**PRODUCTION, **SETTINGS, "tamma_stack_version": NEW})
    assert outcome.status == 0, outcome.output
    assert f"tamma-api-dotnet:{NEW}" in outcome.output
    assert re.search(
        r"would come guarded: .*the database is copied inside its server \(.* [KMG]iB\), about", outcome.output
    )
    assert (data.values(CONTAINER), old.containers(), old.databases()) == before
    old.serves(OLD)


def test_requests_wait_for_a_database_that_is_made_anew(old: Updates) -> None:
    postgres = old.containers()["postgres"]
    labelled = {"services": {"postgres": {"labels": {"example.team": "data"}}}}
    with Load(old.edge(), rate=20, streams=5, writes=5, reconnect=0) as load:
        outcome = old.update(OLD, tamma_stack_overrides=labelled)
    assert outcome.status == 0, outcome.output
    assert "guarded: postgres is made anew" in outcome.output
    assert not load.failures, load.report()
    assert old.lost(load) == []
    assert old.containers()["postgres"] != postgres
    old.serves(OLD, tamma_stack_overrides=labelled)


def test_replicas_that_warm_up_get_no_request(old: Updates) -> None:
    """However slowly its services come up, and whatever they answer until then."""
    assert old.update(NEW).status == 0
    with Load(old.edge(), **FULL) as load:
        outcome = old.update("0.3.5-slow", tamma_stack_deadlines={})
    print(load.report())
    assert outcome.status == 0, outcome.output
    assert not load.failures, load.report()
    assert old.lost(load) == []
    old.serves("0.3.5-slow")


def test_an_engine_finishes_its_issue(old: Updates) -> None:
    configured = old.play("site", tamma_stack_overrides=ISSUE)
    assert configured.status == 0, configured.output
    outcome = old.update(NEW, tamma_stack_overrides=ISSUE)
    assert outcome.status == 0, outcome.output
    lines = old.stack.shell("cd /opt/tamma && docker compose exec -T tamma-engine cat /workspace/standin-issues")
    began, finished = (
        [line.split()[1] for line in lines.splitlines() if line.startswith(word)] for word in ("began", "finished")
    )
    assert len(began) > 1
    assert finished == began[:-1], "all but the new container's own issue"
