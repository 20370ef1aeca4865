"""What the runs of the real services share: the built images, a host, GitHub, and the table of what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.command import docker
from tests.bench.names import NETWORK
from tests.contract.peers import GitHub
from tests.integration.conftest import SANDBOX, Stack, booted
from tests.integration.conftest import installation as installation

from . import images, source
from .results import Results

RESULTS = pytest.StashKey[Results]()


@pytest.fixture(scope="session")
def built() -> source.Built:
    return source.build()


@pytest.fixture(scope="session")
def versions(built: source.Built) -> list[str]:
    """The releases of these services that the registry serves: the same twice, so that there is something to update."""
    return images.serve(built)


@pytest.fixture(scope="session")
def results(built: source.Built, pytestconfig: pytest.Config) -> Results:
    return pytestconfig.stash.setdefault(RESULTS, Results(built))


@pytest.fixture(scope="session")
def host(versions: list[str], installation: Path) -> Iterator[Stack]:
    """A host with Docker."""
    assert versions
    with booted(SANDBOX, "docker"):
        yield Stack(installation)


@pytest.fixture(scope="session")
def github(host: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHub]:
    """GitHub where the host's containers reach it; the host has its certificate."""
    gateway = docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", NETWORK)
    directory = tmp_path_factory.mktemp("github")
    found = GitHub(directory, gateway)
    host.put(directory, "/opt/github")
    host.shell("chmod 755 /opt/github && rm /opt/github/github.key")
    yield found
    found.end()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if found := session.config.stash.get(RESULTS, None):
        found.write(complete=exitstatus == pytest.ExitCode.OK)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if found := config.stash.get(RESULTS, None):
        terminalreporter.section(f"Tamma {found.built.name}")
        for line in found.table():
            terminalreporter.write_line(line)
