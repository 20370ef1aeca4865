# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that change while a production stack serves: under load, with failures, and with an operator that dies."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.bench import faults
from tests.bench.faults import Fault
from tests.bench.load import Load
from tests.integration.conftest import Stack
from tests.integration.production import CONTAINER, PRODUCTION, Production

pytestmark = pytest.mark.other_stack

CI_FAULTS = Path(__file__).resolve().parents[1] / "ci_faults.txt"


@pytest.fixture(scope="module")
def production(stack: Stack) -> Production:
    """The host in the production profile with secret files."""
    production = Production(stack)
    outcome = production.play("site")
    assert outcome.status == 0, outcome.output
    return production


@pytest.fixture(params=faults.listed(CI_FAULTS, "rotate"), ids=str)
def fault(request: pytest.FixtureRequest) -> Fault:
    """Where the operator dies."""
    found: Fault = request.param
    return found


def test_a_rotation_under_load_loses_no_request(production: Production) -> None:
    before = production.secrets()
    with Load(production.edge(), rate=20, streams=2) as load:
        outcome = production.play("rotate_secrets", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "TAMMA_JWT_SECRET")
    assert outcome.status == 0, outcome.output
    assert not load.failures, load.report()
    after = production.secrets()
    assert {name for name in after if after[name] != before.get(name)} == {
        "POSTGRES_PASSWORD",
        "RABBITMQ_PASSWORD",
        "TAMMA_JWT_SECRET",
    }
    for value in {**before, **after}.values():
        assert value not in outcome.output
    production.runs_on(after, not_on=before)


def test_check_mode_rotates_nothing(production: Production) -> None:
    before = production.stack.containers(), production.secrets()
    outcome = production.stack.play(
        "rotate_secrets", "--check", variables={**PRODUCTION, "tamma_stack_rotate": ["POSTGRES_PASSWORD"]}
    )
    assert outcome.status == 0, outcome.output
    assert "POSTGRES_PASSWORD" in outcome.output
    assert (production.stack.containers(), production.secrets()) == before


def test_a_given_secret_is_rotated_to_what_the_inventory_says(production: Production) -> None:
    canary = "github_pat_canary%s" % secrets.token_hex(12)
    refused = production.play("rotate_secrets", "GITHUB_TOKEN")
    assert refused.status != 0
    assert "The inventory gives GITHUB_TOKEN the value that it has already" in refused.output

    before = production.stack.containers()
    outcome = production.play("rotate_secrets", "GITHUB_TOKEN", tamma_stack_github_token=canary)
    assert outcome.status == 0, outcome.output
    assert canary not in outcome.output
    after = production.stack.containers()
    assert {name for name in after if after[name] != before[name]} == {"tamma-api", "tamma-api-dotnet", "tamma-engine"}
    assert production.play("rotate_secrets", "GITHUB_TOKEN").status == 0


def test_a_rotation_that_does_not_come_up_goes_back(production: Production) -> None:
    before = production.secrets()
    sick = {"services": {"tamma-api": {"environment": {"STANDIN_UNHEALTHY": "1"}}}}
    with Load(production.edge(), rate=20, streams=0) as load:
        outcome = production.play(
            "rotate_secrets",
            "POSTGRES_PASSWORD",
            "RABBITMQ_PASSWORD",
            tamma_stack_overrides=sick,
            tamma_stack_deadlines={"tamma-api": 10},
        )
    assert outcome.status != 0
    assert "was not ready after 10 s" in outcome.output
    assert not load.failures, load.report()
    assert production.play("site").status == 0
    after = production.secrets()
    assert after["POSTGRES_PASSWORD"] == before["POSTGRES_PASSWORD"]
    assert production.postgres_lets_in(before["POSTGRES_PASSWORD"])
    assert production.rabbitmq_lets_in(before["RABBITMQ_PASSWORD"])


def survive(production: Production, fault: Fault | None) -> None:
    """Let an operator that rotates die, and the next one complete its work."""
    before = production.secrets()
    faults.arm(CONTAINER, fault)
    names = ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD")
    outcome = production.play("rotate_secrets", *names, ansible_python_interpreter=faults.PYTHON)
    assert (outcome.status == 0) == (fault is None), outcome.output
    if fault:
        # Services come up side by side: the last effect may be another one's.
        assert fault.effect in faults.effects(CONTAINER)
        completed = production.play("rotate_secrets", *names)
        assert completed.status == 0, completed.output
    production.runs_on(production.secrets(), not_on=before)


def test_an_operator_that_dies_leaves_what_the_next_run_completes(production: Production, fault: Fault) -> None:
    with faults.tried("rotate"):
        survive(production, fault)


@pytest.mark.fault_matrix
def test_an_operator_may_die_anywhere(production: Production) -> None:
    survive(production, None)
    faults.matrix("rotate", faults.effects(CONTAINER), lambda fault: survive(production, fault))
