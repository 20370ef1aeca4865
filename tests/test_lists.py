"""Every test has a home: `make test` runs it, or `make test-all`, or `make faults`, or `make real`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import second_list
from tests.tools.roles import ROOT
from tests.tools.run import project_files, run

SCENARIOS = ROOT / "molecule"
#: What `make real` runs: it needs a checkout of Tamma's source.
REAL = "tests/real/"


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """What `make test-all` runs."""
    output = run([sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--no-header"])
    return [line for line in output.splitlines() if line.startswith("tests/")]


def test_every_test_file_is_in_a_list(collected: list[str]) -> None:
    present = {str(path) for path in project_files(":(glob)tests/**/test_*.py")}
    assert {nodeid.partition("::")[0] for nodeid in collected} == {
        name for name in present if not name.startswith(REAL)
    }


def test_what_needs_tamma_itself_has_a_target_of_its_own() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^real: .*\n(\t.*\n)*\t@\$\(PYTEST\) {REAL[:-1]} ", makefile, re.MULTILINE)


def test_what_the_second_list_names_is_there(collected: list[str]) -> None:
    assert [name for name in second_list() if not any(nodeid.startswith(name) for nodeid in collected)] == []


def test_every_test_file_of_molecule_belongs_to_a_scenario() -> None:
    common = _verifier(ROOT / ".config" / "molecule" / "config.yml")
    used: set[Path] = set()
    for file in SCENARIOS.glob("*/molecule.yml"):
        verifier = {**common, **_verifier(file)}
        for pattern in ("test_*.py", *verifier["additional_files_or_dirs"]):
            path = file.parent / verifier["directory"] / pattern.replace("${MOLECULE_SCENARIO_NAME}", file.parent.name)
            used |= set(path.parent.resolve().glob(path.name))
    assert set(SCENARIOS.rglob("test_*.py")) - used == set()


def _verifier(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")).get("verifier", {})
    return found
