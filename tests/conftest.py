"""What every test of the collection shares."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.tools.checkout  # noqa: F401 - before anything of the collection is imported
from tests.tools.roles import ROOT
from tests.tools.run import run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scenario",
        action="append",
        metavar="NAME",
        help="run this Molecule scenario (default: those that tests/ci_scenarios.txt lists)",
    )

    parser.addoption(
        "--every-fault",
        action="store_true",
        help="run the whole fault matrix as well (default: the part that tests/ci_faults.txt lists)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the fault matrix, which takes hours, to those who ask for it."""
    if not config.getoption("--every-fault"):
        matrix = [item for item in items if item.get_closest_marker("fault_matrix")]
        items[:] = [item for item in items if item not in matrix]
        config.hook.pytest_deselected(items=matrix)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it would be published, built from this checkout as it is."""
    target = tmp_path_factory.mktemp("artifact")
    run(["ansible-galaxy", "collection", "build", "--output-path", target, ROOT])
    (built,) = target.iterdir()
    return built
