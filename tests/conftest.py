"""What every test of the collection shares."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

import tests.tools.checkout  # noqa: F401 - before anything of the collection is imported
from tests.bench import clock, patience
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
        "--clock",
        action="store_true",
        help="record where the time goes, and end with a table of that (again: `make clock`)",
    )

    parser.addoption(
        "--every-fault",
        action="store_true",
        help="run the whole fault matrix as well (default: the part that tests/ci_faults.txt lists)",
    )


_BUILDER = pytest.StashKey["subprocess.Popen[bytes]"]()
_BEGAN = pytest.StashKey[tuple[float, float]]()


def _leads(config: pytest.Config) -> bool:
    """Whether this process is the one that the others of a run work for."""
    return not hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Start the clock, and see how patient this run has to be, before there are other processes."""
    if _leads(config):
        patience.measure()
        if config.getoption("--clock"):
            clock.begin()
            config.stash[_BEGAN] = clock.now()


def _place(nodeid: str) -> str:
    """What the clock calls a test: its file, or its scenario."""
    file, _, name = nodeid.partition("::")
    return f"molecule/{name.partition('[')[2].rstrip(']')}" if name.startswith("test_scenario[") else file


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    os.environ[clock.PLACE] = _place(item.nodeid)
    with clock.phase("testing"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Tell apart what several tests share."""
    if fixturedef.scope == "function":
        return (yield)
    with clock.phase("setting up"):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the time went."""
    if began := config.stash.get(_BEGAN, None):
        os.environ[clock.PLACE] = ""
        clock.record(clock.RUN, began)
        terminalreporter.section("clock")
        for line in clock.table(clock.read(Path(os.environ[clock.FILE]))):
            terminalreporter.write_line(line)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to build. Whoever brings a sandbox up waits for the end of that, and builds what is missing then."""
    if session.config.getoption("--images-beside") and _leads(session.config):
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
    """Leave the fault matrix, which takes hours, to those who ask for it; nothing else may take long."""
    for item in items:
        if not item.get_closest_marker("fault_matrix"):
            unit = item.path.is_relative_to(ROOT / "tests" / "unit")
            seconds = SECONDS_OF_A_UNIT if unit else SECONDS_OF_A_TEST
            item.add_marker(pytest.mark.timeout(patience.scaled(seconds)))
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
