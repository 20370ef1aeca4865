"""The operator tells a failed migration from everything else that a service says, on the lines of the service."""

from __future__ import annotations

import tests.tools.checkout  # noqa: F401 - before anything of the collection is imported
from ansible_collections.meywd.tamma.plugins.module_utils.migrations import failures, untried

from .asking import until
from .peers import Authority
from .postgres import Database
from .processes import Driver
from .test_api_dotnet import SESSIONS, trusting


def test_a_migration_that_fails(api_dotnet: Driver, database: Database) -> None:
    revoke = "ALTER SCHEMA public OWNER TO postgres; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    database.server.query(revoke, database=database.name)
    (first, reason, *_) = failures(api_dotnet.start().health().log.splitlines())
    assert "Error applying migrations" in first
    assert "permission denied for schema public" in reason


def test_none_that_fails(api_dotnet: Driver) -> None:
    service = api_dotnet.start().health()
    assert "Now listening on" in service.log
    assert not untried(service.log.splitlines())
    assert failures(service.log.splitlines()) == []


def test_a_database_that_is_away_while_it_starts_and_comes_back(api_dotnet: Driver, database: Database) -> None:
    database.server.stop()
    try:
        service = api_dotnet.start().health(503)
    finally:
        database.server.start()
    service.health()
    assert "Error applying migrations" in service.log
    assert failures(service.log.splitlines()) == []
    assert untried(service.log.splitlines())


def test_a_request_that_fails(api_dotnet: Driver, authority: Authority) -> None:
    # There are no tables.
    service = api_dotnet.start(**trusting(authority.url)).health()
    assert service.ask(SESSIONS, headers=authority.headers()).status == 500
    assert until(lambda: "ERR]" in service.log, 5)
    assert failures(service.log.splitlines()) == []
