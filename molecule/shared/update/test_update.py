# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates of a production host: a bad one leaves everything as it was, a good one costs no request and no row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from testinfra.host import Host

from tests.bench import data
from tests.bench.load import Load
from tests.tools.outcome import Outcome
from tests.tools.updating import OLD, Production, replaced

#: Small: what takes long is the start of the services.
MEBIBYTES = 8
NEW = "0.3.0"
#: How long streams go on, at least, after the last request that went the same way.
STREAMS = 2
#: Light, because a machine with two cores has the host, the controller and the load. `make test-all` has the full one.
LIGHT: dict[str, Any] = {"rate": 20, "streams": 5, "writes": 5, "reconnect": 0}
CONFIGURATION = {"services": {"tamma-api-dotnet": {"environment": {"Logging__LogLevel__Default": "Warning"}}}}
CONFIGURED = {"tamma-api-dotnet"}
#: What a release does not replace when its images are other ones.
STAY = {"postgres", "rabbitmq", "edge"}
SECRETS = ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD")

MISSING = "0.3.4-missing"
UNHEALTHY = "0.3.1-unhealthy"
DESTRUCTIVE = "0.3.2-destructive"
FAILED_MIGRATION = "0.3.3-failed-migration"
#: What the operator is told.
TOLD = {
    MISSING: r"tamma-dashboard:0\.3\.4-missing",
    UNHEALTHY: r"tamma-api \(container tamma-tamma-api-\d\) was not ready after 8 s.*Its last lines:",
    FAILED_MIGRATION: r"tamma-api-dotnet says that it is healthy.*migration",
    DESTRUCTIVE: r"tamma-api-dotnet",
}


@pytest.fixture(scope="module")
def production(host: Host) -> Production:
    """The host as its inventory says, with data."""
    found = Production(host)
    deployed = found.site(OLD)
    assert deployed.status == 0, deployed.output
    found.fill(MEBIBYTES)
    return found


@contextmanager
def under_load(production: Production) -> Iterator[Load]:
    """Ask, listen and write meanwhile; whatever was acknowledged has to be there afterwards."""
    with Load(production.edge, **LIGHT) as load:
        yield load
    print(load.report())
    assert production.lost(load) == []
    # A hold has a bound, and past it the edge says when to come again. Nothing else may go wrong.
    assert all(failure.reason.startswith("503") for failure in load.failures), load.report()


def test_a_change_of_configuration_holds_nothing_and_can_be_taken_back(production: Production) -> None:
    containers, databases = production.containers(), production.databases()
    with production.unharmed():
        with under_load(production) as load:
            done = production.update(OLD, tamma_stack_overrides=CONFIGURATION)
        assert done.status == 0, done.output
        assert not load.failures, load.report()
        assert load.cuts == 0, load.report()
        assert not held(done)
        assert replaced(containers, production.containers()) == CONFIGURED
        production.serves(OLD, tamma_stack_overrides=CONFIGURATION)
        # It brought no schema: what was written since stays when it goes.
        row = production.write("with the configuration")
        back = production.play("rollback")
        assert back.status == 0, back.output
        assert row in production.rows()
    assert production.databases() == databases


def test_a_missing_image_stops_nothing(production: Production) -> None:
    containers, databases = production.containers(), production.databases()
    with production.unharmed():
        refused(production.update(MISSING), MISSING)
        assert production.containers() == containers
    assert production.databases() == databases


@pytest.mark.parametrize("version", [UNHEALTHY, FAILED_MIGRATION])
def test_a_bad_release_leaves_everything_as_it_was(production: Production, version: str) -> None:
    quick = {"tamma_stack_deadlines": {"tamma-api": 8}} if version == UNHEALTHY else {}
    with production.unharmed():
        refused(production.update(version, tamma_stack_update_backup=False, **quick), version)


def test_a_release_that_ruins_the_data_costs_no_acknowledged_row(production: Production) -> None:
    databases = production.databases()
    with production.unharmed():
        with under_load(production):
            done = production.update(DESTRUCTIVE)
        refused(done, DESTRUCTIVE)
    # What it has done stays for whoever wants to know.
    assert [name for name in production.databases() - databases if "_failed_" in name]


def held(done: Outcome) -> bool:
    """Whether requests had to wait at the edge for an update."""
    return re.search(r"^ +tamma1 \| +[\d.]+ s  hold ", done.output, re.MULTILINE) is not None


def refused(done: Outcome, version: str) -> None:
    assert done.status == 2, done.output
    assert re.search(TOLD[version], done.told, re.DOTALL), done.output


class Updated(NamedTuple):
    """An update to the new version, under load; values and rows from before it."""

    before: data.State
    rows: list[str]
    containers: dict[str, set[str]]
    load: Load
    done: Outcome


@pytest.fixture(scope="module")
def updated(production: Production) -> Updated:
    """The new version serves."""
    before, rows, containers = data.state(production.container), production.rows(), production.containers()
    with under_load(production) as load:
        done = production.update(NEW)
    assert done.status == 0, done.output
    return Updated(before, rows, containers, load, done)


def test_a_good_release_costs_no_request_and_no_row(production: Production, updated: Updated) -> None:
    load = updated.load
    assert held(updated.done)
    assert not load.failures, load.report()
    assert len(load.acknowledged) == load.written
    # A stream outlives the last request that the old version took.
    assert set(load.versions) == {OLD, NEW}
    assert load.ends, "tamma-api was replaced, so its streams have ended"
    assert min(end.second for end in load.ends) >= load.last_asked[OLD] + STREAMS, load.report()
    assert production.rows()[: len(updated.rows)] == updated.rows
    assert replaced(updated.containers, production.containers()) == set(updated.containers) - STAY
    production.serves(NEW)


def test_a_rollback_past_a_rotation_brings_the_data_of_then_and_keeps_the_secrets_of_today(
    production: Production, updated: Updated
) -> None:
    former, databases = production.secrets(), production.databases()
    rotated = production.play("rotate_secrets", tamma_stack_version=NEW, tamma_stack_rotate=list(SECRETS))
    assert rotated.status == 0, rotated.output
    row = production.write("written by the new release")
    back = production.play("rollback")
    assert back.status == 0, back.output
    assert production.differences(updated.before) == []
    assert production.rows()[: len(updated.rows)] == updated.rows
    assert row not in production.rows()
    assert production.databases() - databases, "what the new release has written is kept"
    production.serves(OLD)
    assert all(production.secrets()[name] != former[name] for name in SECRETS)
    assert production.postgres_lets_in(production.secrets()["POSTGRES_PASSWORD"])
    assert not production.postgres_lets_in(former["POSTGRES_PASSWORD"])


def test_the_hooks_were_told_of_every_release(production: Production, updated: Updated) -> None:
    """In the order of the tests above, a release that has not begun is none."""
    assert updated.done.status == 0
    told = production.host.check_output("cat /var/tmp/hooks").splitlines()
    expected = [
        *[f"before {OLD}", f"after {OLD}"] * 2,
        *[f"before {UNHEALTHY}", f"failed rolled_back {UNHEALTHY}"],
        *[f"before {FAILED_MIGRATION}", f"failed rolled_back {FAILED_MIGRATION}"],
        *[f"before {DESTRUCTIVE}", f"failed rolled_back {DESTRUCTIVE}"],
        *[f"before {NEW}", f"after {NEW}"],
        *[f"before {OLD}", f"after {OLD}"],
    ]
    assert told[-len(expected) :] == expected
