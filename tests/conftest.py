"""What every test of the collection shares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

import tests.tools.checkout  # noqa: F401 - before anything of the collection is imported
from tests.bench.names import cache_dir
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
        "--images-beside",
        action="store_true",
        help="build the bench's images while the tests run that need none; those that need them wait",
    )

    parser.addoption(
        "--every-fault",
        action="store_true",
        help="run the whole fault matrix as well (default: the part that tests/ci_faults.txt lists)",
    )

    parser.addoption(
        "--patient",
        action="store_true",
        help="run the tests as well that wait for half a minute and more (make test-all)",
    )


_BUILDER = pytest.StashKey["subprocess.Popen[bytes]"]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to build. Whoever brings a sandbox up waits for the end of that, and builds what is missing then."""
    if session.config.getoption("--images-beside") and not hasattr(session.config, "workerinput"):
        with (cache_dir() / "images.log").open("wb") as log:
            command = [sys.executable, "-m", "tests.bench", "images"]
            builder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        session.config.stash[_BUILDER] = builder


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave nothing at work, whyever the tests have ended."""
    builder = session.config.stash.get(_BUILDER, None)
    if builder and builder.poll() is None:
        builder.terminate()
        builder.wait()


class Scheduling(LoadScopeScheduling):
    """Which tests stay together when several processes run them (`make test`): those that share a host, or a file."""

    def _split_scope(self, nodeid: str) -> str:
        """Name what a test stays together with."""
        if nodeid.startswith("tests/integration/"):
            return "tests/integration"
        # Each scenario has a sandbox of its own.
        return nodeid if nodeid.startswith("tests/test_molecule.py") else nodeid.split("::", 1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


#: What hangs shall say where, instead of taking the time of all others. A Molecule scenario has less of its own.
SECONDS_OF_A_UNIT, SECONDS_OF_A_TEST = 120, 2700


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what takes hours, or waits for long, to those who ask for it; nothing else may take long."""
    for item in items:
        if not item.get_closest_marker("fault_matrix"):
            unit = item.path.is_relative_to(ROOT / "tests" / "unit")
            item.add_marker(pytest.mark.timeout(SECONDS_OF_A_UNIT if unit else SECONDS_OF_A_TEST))
    for option, marker in (("--every-fault", "fault_matrix"), ("--patient", "patient")):
        left = [] if config.getoption(option) else [item for item in items if item.get_closest_marker(marker)]
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it would be published, built from this checkout as it is."""
    target = tmp_path_factory.mktemp("artifact")
    run(["ansible-galaxy", "collection", "build", "--output-path", target, ROOT])
    (built,) = target.iterdir()
    return built
