"""What the cases of the contract share: a database, somebody to talk to, and a driver for each kind of service."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import machine
from tests.tools.roles import ROOT

from .containers import NOT_PLAYED, Containers
from .peers import Authority, Recorder
from .postgres import PROGRAMS, Database, Server
from .processes import Driver

#: What plays the services: processes, or containers (CONTRACT_DRIVER=container).
DRIVER = Containers if os.environ.get("CONTRACT_DRIVER") == "container" else Driver
INIT_SQL = ROOT / "roles" / "tamma_stack" / "files" / "postgres" / "init-db.sql"
JWT_SECRET = "a-jwt-secret-that-is-long-enough-for-hmac-sha256"
SIGNING_KEY = "a-signing-key-that-is-long-enough-for-hmac-sha256"
_NAMES = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if not any(PROGRAMS.glob("*/bin/initdb")):
        machine.install("postgresql")
    with tempfile.TemporaryDirectory(prefix="contract-") as directory:
        found = Server(Path(directory))
        yield found
        found.stop()


@pytest.fixture(scope="session", autouse=True)
def _packages() -> None:
    if not Path("/usr/lib/python3/dist-packages/psycopg2").is_dir():
        machine.install("python3-psycopg2")


@pytest.fixture
def database(server: Server) -> Database:
    return Database(server, f"case{next(_NAMES)}")


@pytest.fixture
def tables(database: Database) -> Database:
    """A database as the operator makes it."""
    database.query("-f", str(INIT_SQL))
    return database


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    found = Recorder()
    yield found
    found.end()


@pytest.fixture
def authority(recorder: Recorder, tmp_path: Path) -> Authority:
    return Authority(recorder, tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = item.nodeid.partition("tests/contract/")[2]
        if DRIVER is Containers and name in NOT_PLAYED:
            item.add_marker(pytest.mark.skip(reason=NOT_PLAYED[name]))


def _driver(kind: str, **settings: str) -> Iterator[Driver]:
    found = DRIVER(kind, settings)
    yield found
    found.end()


@pytest.fixture
def elsa(database: Database) -> Iterator[Driver]:
    yield from _driver(
        "ELSA",
        ConnectionStrings__DefaultConnection=database.string(),
        ASPNETCORE_ENVIRONMENT="Production",
        Elsa__Identity__SigningKey=SIGNING_KEY,
    )


@pytest.fixture
def api_dotnet(database: Database, recorder: Recorder) -> Iterator[Driver]:
    yield from _driver(
        "API_DOTNET",
        ConnectionStrings__DefaultConnection=database.string(),
        ASPNETCORE_ENVIRONMENT="Production",
        Jwt__Secret=JWT_SECRET,
        Elsa__ServerUrl=recorder.url,
        Elsa__ApiKey="the-key",
        TammaServer__Url=recorder.url,
        WorkflowSync__PollIntervalSeconds="1",
        Dashboard__Url="https://tamma.example.org",
    )


@pytest.fixture
def tamma() -> Iterator[Driver]:
    """API and engine are one program: its arguments say which of both."""
    yield from _driver(
        "TAMMA",
        GITHUB_TOKEN="a-token",
        TAMMA_GITHUB_OWNER="owner",
        TAMMA_GITHUB_REPO="repository",
        ANTHROPIC_API_KEY="a-key",
        TAMMA_POLL_INTERVAL_MS="1000",
    )
