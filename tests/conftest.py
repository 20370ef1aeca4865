"""What every test of the collection shares."""

from __future__ import annotations

import os
import re
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
from tests.tools.outcome import MOST, matters
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
        help="build the bench's images and snapshots while the tests run, and end when both are done",
    )

    parser.addoption(
        "--ci",
        action="store_true",
        help="leave out what tests/second_list.txt names (`make test-all` runs it)",
    )

    parser.addoption(
        "--part",
        choices=("early", "late"),
        help="early: what needs no host, late: the rest (default: both)",
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a failed test show the lines that matter, and say where the others are."""
    report = yield
    if report.failed and len(report.longreprtext.splitlines()) > MOST:
        directory = ROOT / ".cache" / "failed"
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / (re.sub(r"\W+", "-", item.nodeid)[-100:] + ".log")
        file.write_text(report.longreprtext, encoding="utf-8")
        report.longrepr = f"{matters(report.longreprtext)}\n\nEverything that it said is in {file}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the time went."""
    if began := config.stash.get(_BEGAN, None):
        os.environ[clock.PLACE] = ""
        clock.record(clock.RUN, began)
        terminalreporter.section("clock")
        for line in clock.table(clock.read(Path(os.environ[clock.FILE]))):
            terminalreporter.write_line(line)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to build what hosts will need."""
    if session.config.getoption("--images-beside") and _leads(session.config):
        with (cache_dir() / "images.log").open("wb") as log:
            command = [sys.executable, "-m", "tests.bench", "images", "--snapshots"]
            env = {**os.environ, clock.PLACE: "beside the tests"}
            builder = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        session.config.stash[_BUILDER] = builder


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave nothing at work: when the tests have failed nobody needs it."""
    if builder := session.config.stash.get(_BUILDER, None):
        if exitstatus != pytest.ExitCode.OK:
            builder.terminate()
        builder.wait()


#: Files that share a host which costs more than they do.
TOGETHER = tuple(
    f"tests/integration/test_{name}.py" for name in ("bundle", "bundle_scripts", "option_b", "secret_delivery")
)
#: Files whose tests have nothing to do with each other: tools, and scenarios with a sandbox of their own.
APART = ("tests/test_quality.py", "tests/test_molecule.py")


class Scheduling(LoadScopeScheduling):
    """Which tests stay together when several processes run them: those of a file, and a few files."""

    def _split_scope(self, nodeid: str) -> str:
        """Name what a test stays together with."""
        file = nodeid.partition("::")[0]
        if file in APART:
            return nodeid
        return TOGETHER[0] if file in TOGETHER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


#: What hangs shall say where, instead of taking the time of all others. A Molecule scenario has less of its own.
SECONDS_OF_A_UNIT, SECONDS_WITHOUT_HOSTS, SECONDS_OF_A_TEST = 120, 600, 2700
#: What has hosts. It takes long, and comes when nothing else has failed.
LATE = ("tests/integration/", "tests/test_molecule.py", "tests/postgres/")
#: Of these, after the scenarios, what takes longest comes first: whoever has no more work ends soon after the others.
LONG = tuple(f"tests/integration/test_{name}.py" for name in ("backup", "rotation", "deploy"))


def second_list() -> dict[str, str]:
    """Return what tests/second_list.txt names, and the reasons."""
    lines = (ROOT / "tests" / "second_list.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def _seconds(item: pytest.Item) -> int:
    """How long a test may take on a quiet machine."""
    if item.nodeid.startswith(LATE):
        return SECONDS_OF_A_TEST
    return SECONDS_OF_A_UNIT if item.nodeid.startswith("tests/unit/") else SECONDS_WITHOUT_HOSTS


def _left_out(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether the command line leaves a test to another part of the run, or to another list."""
    if item.get_closest_marker("fault_matrix") and not config.getoption("--every-fault"):
        return True
    part = config.getoption("--part")
    if part and (part == "late") != item.nodeid.startswith(LATE):
        return True
    return config.getoption("--ci") and any(item.nodeid.startswith(name) for name in second_list())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another command runs; nothing but the fault matrix may take long."""
    for item in items:
        if not item.get_closest_marker("fault_matrix"):
            item.add_marker(pytest.mark.timeout(patience.scaled(_seconds(item))))
    others = [item for item in items if _left_out(config, item)]
    items[:] = [item for item in items if item not in others]
    items.sort(key=lambda item: item.nodeid.startswith(LATE[0]) and not item.nodeid.startswith(LONG))
    config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it would be published, built from this checkout as it is."""
    target = tmp_path_factory.mktemp("artifact")
    run(["ansible-galaxy", "collection", "build", "--output-path", target, ROOT])
    (built,) = target.iterdir()
    return built
