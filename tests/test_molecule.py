"""One test per Molecule scenario, each on bare hosts of the test bench."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.run import run

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 2400


def listed_scenarios() -> list[str]:
    """What tests/ci_scenarios.txt names."""
    lines = (ROOT / "tests" / "ci_scenarios.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", metafunc.config.getoption("--scenario") or listed_scenarios())


def test_every_scenario_is_listed() -> None:
    present = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    assert present == set(listed_scenarios())


@pytest.fixture
def sandbox(scenario: str) -> Iterator[None]:
    """A scenario's sandbox for one run at a time: another checkout on this machine has to wait."""
    with (Path(tempfile.gettempdir()) / f"tamma-molecule-{scenario}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("sandbox")
def test_scenario(scenario: str, pytestconfig: pytest.Config) -> None:
    output = run(
        ["molecule", "test", "--scenario-name", scenario],
        env={
            **os.environ,
            # Create and destroy need no inventory of hosts that are not there.
            "MOLECULE_ANSIBLE_ARGS_STRICT_MODE": "true",
            "MOLECULE_COMMAND_BORDERS": "false",
            "MOLECULE_EPHEMERAL_DIRECTORY": str(ROOT / ".cache" / "molecule" / scenario),
            "MOLECULE_GLOB": "molecule/*/molecule.yml",
            "NO_COLOR": "1",
        },
        timeout=SECONDS,
        # With --capture=no somebody watches.
        echo=pytestconfig.getoption("capture") == "no",
    )
    # Molecule calls a scenario without tests a success.
    assert "no tests found" not in output
