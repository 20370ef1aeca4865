# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers outside of the stack: how services are told of them, what is remembered meanwhile, what is refused."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from ansible_collections.meywd.tamma.plugins.module_utils import servers
from ansible_collections.meywd.tamma.plugins.module_utils.files import File
from ansible_collections.meywd.tamma.plugins.module_utils.formats import quote_npgsql
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres, RabbitMQ
from ansible_collections.meywd.tamma.plugins.module_utils.planner import check_stored_settings
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release, environment, known_settings
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import interpolate
from tests.tools import standin
from tests.unit.test_formats import printable
from tests.unit.test_planner import STORED
from tests.unit.test_release import deploy, release
from tests.unit.test_stack_files import SERVICES

npgsql = standin.load("connection_string").npgsql

CONNECTION_STRING = SERVICES["elsa-server"]["environment"]["ConnectionStrings__DefaultConnection"]
SYSTEM = "/etc/ssl/certs/ca-certificates.crt"


def spelled(password: str, has_ca: bool = False, **settings: str) -> dict[str, str]:
    return {
        **settings,
        **servers.spellings(settings, has_ca),
        "POSTGRES_PASSWORD_NPGSQL": quote_npgsql(password),
    }


# -- how services are told of the database --------------------------------------------------


def test_a_container_with_plain_names_needs_nothing() -> None:
    assert servers.spellings({"POSTGRES_USER": "tamma", "POSTGRES_DB": "tamma_2"}, has_ca=True) == {}


some = printable.filter(bool)


@given(some, some, some)
@example("me@home", "a;b/c=&+$,:%41?#", '"; Host=elsewhere;')
def test_npgsql_reads_any_name_and_password(user: str, database: str, password: str) -> None:
    values = spelled(password, POSTGRES_USER=user, POSTGRES_DB=database, POSTGRES_HOST="db.example.org")
    wanted = {"username": user, "database": database, "password": password, "host": "db.example.org"}
    read = npgsql(interpolate(CONNECTION_STRING, values))
    assert {key: read[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("mode", "has_ca", "tls"),
    [
        ("disable", True, {"sslmode": "disable"}),
        ("require", True, {"sslmode": "require"}),
        ("verify-ca", True, {"sslmode": "verify-ca", "sslrootcert": "/etc/tamma/tls/postgres-ca.pem"}),
        ("verify-full", True, {"sslmode": "verify-full", "sslrootcert": "/etc/tamma/tls/postgres-ca.pem"}),
        ("verify-full", False, {"sslmode": "verify-full", "sslrootcert": SYSTEM}),
        ("", False, {"sslmode": "verify-full", "sslrootcert": SYSTEM}),
    ],
)
def test_npgsql_uses_tls_as_the_mode_says(mode: str, has_ca: bool, tls: dict[str, str]) -> None:
    values = spelled("x", has_ca, POSTGRES_HOST="db", POSTGRES_HOST_PORT="6432", POSTGRES_SSLMODE=mode)
    read = npgsql(interpolate(CONNECTION_STRING, values))
    assert {key: read.get(key) for key in ("host", "port", *tls)} == {"host": "db", "port": "6432", **tls}
    assert ("sslrootcert" in read) == ("sslrootcert" in tls)


# -- what is remembered of the containers ---------------------------------------------------

OUTSIDE = {"POSTGRES_HOST": "db", "POSTGRES_USER": "other", "POSTGRES_DB": "elsewhere"}


def inside(directory: Path, **secrets: str) -> Release:
    wanted = release(directory, **secrets)
    return wanted._replace(settings={**wanted.settings, "POSTGRES_USER": "tamma", "POSTGRES_DB": "tamma"})


def outside(directory: Path, password: str = "theirs") -> Release:
    wanted = release(directory, POSTGRES_PASSWORD=password)
    return wanted._replace(settings={**wanted.settings, **OUTSIDE}, generated=["ELSA_SIGNING_KEY"])


def test_the_containers_login_is_there_again_after_an_external_server(tmp_path: Path) -> None:
    deploy(inside(tmp_path))
    password = known_settings(inside(tmp_path))["POSTGRES_PASSWORD"]
    for theirs in ("theirs", "another"):
        deploy(outside(tmp_path, theirs))
        known = known_settings(outside(tmp_path))
        assert (known["POSTGRES_PASSWORD"], known["POSTGRES_USER"]) == (theirs, "other")
    back = environment(inside(tmp_path))
    assert (back["POSTGRES_PASSWORD"], back["POSTGRES_USER"], back["POSTGRES_DB"]) == (password, "tamma", "tamma")
    assert not [name for name in back if "CONTAINER" in name or name.startswith("POSTGRES_OPTIONS")]


def test_a_container_after_an_external_server_has_a_password_of_its_own(tmp_path: Path) -> None:
    deploy(outside(tmp_path))
    assert environment(inside(tmp_path))["POSTGRES_PASSWORD"] != "theirs"


def test_the_external_servers_password_is_none_for_the_container(tmp_path: Path) -> None:
    deploy(inside(tmp_path))
    deploy(outside(tmp_path))
    wanted = inside(tmp_path, POSTGRES_PASSWORD="theirs")
    known = known_settings(wanted)
    (problem,) = check_stored_settings(
        STORED,
        ["tamma_pg-data"],
        servers.of_containers(known),
        environment(wanted),
        [*wanted.settings, *wanted.secrets],
        servers.kept_as(known),
    )
    assert problem.startswith("POSTGRES_PASSWORD differs")
    assert problem.endswith("has as POSTGRES_CONTAINER_PASSWORD.")


# -- what is refused before anybody is asked ------------------------------------------------


def postgres(**changes: Any) -> Postgres:
    return Postgres(**{"host": "db.invalid", "port": 1, "database": "x", "user": "x", "password": "x", **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "db.invalid:5432"}, "tamma_stack_postgres_host is not one host name"),
        ({"host": "db.invalid,other.invalid"}, "tamma_stack_postgres_host is not one host name"),
        ({"host": "::1"}, "tamma_stack_postgres_host is not one host name"),
        ({"password": ""}, "tamma_stack_postgres_password is not set"),
        ({"host": "localhost"}, "tamma_stack_postgres_host leads to the loopback address"),
        ({"host": "127.0.1.1", "sslmode": "require"}, "tamma_stack_postgres_host leads to the loopback address"),
        ({"sslmode": "verify-ca"}, "tamma_stack_postgres_ca is not set"),
    ],
)
def test_a_database_that_no_service_could_use(changes: dict[str, str], words: str) -> None:
    (problem,) = servers.check([postgres(**changes)], [])
    assert words in problem


def test_every_problem_of_both_servers_is_told() -> None:
    broker = RabbitMQ("localhost", 5671, "x", "x")
    problems = servers.check([postgres(sslmode="verify-ca")], [broker])
    assert [problem.split()[0] for problem in problems] == [
        "tamma_stack_postgres_sslmode",
        "tamma_stack_rabbitmq_host",
    ]


def test_names_that_containers_do_not_find() -> None:
    etc_hosts = "127.0.0.1 localhost\n10.0.0.5\tdb.example.org db # not broker.example.org\n"
    assert servers.advise(["broker.example.org"], etc_hosts) == []
    (advice,) = servers.advise(["db.example.org", "db.example.org"], etc_hosts)
    assert advice.startswith("This host knows db.example.org from /etc/hosts")


def test_the_authority_comes_from_the_releases_files(tmp_path: Path) -> None:
    wanted = outside(tmp_path)
    (database,) = servers.external_postgres(environment(wanted), "PEM")
    assert (database.host, database.user, database.database, database.ca) == ("db", "other", "elsewhere", "PEM")
    with_ca = wanted._replace(files=[*wanted.files, File(servers.POSTGRES_CA, "PEM")])
    assert "Root Certificate" in environment(with_ca)["POSTGRES_OPTIONS_NPGSQL"]
    assert "Root Certificate" not in environment(wanted)["POSTGRES_OPTIONS_NPGSQL"]


@pytest.mark.parametrize(
    ("replicas", "sizes"),
    [
        ({}, {}),
        ({"API_DOTNET_REPLICAS": "1"}, {}),
        ({"ELSA_REPLICAS": "3"}, {"ELSA_POOL_SIZE": "10", "API_DOTNET_POOL_SIZE": "12"}),
        # ELSA's definition stays what it is, so nothing makes a new container of it.
        ({"API_DOTNET_REPLICAS": "3"}, {"API_DOTNET_POOL_SIZE": "10"}),
        ({"API_DOTNET_REPLICAS": "90"}, {"API_DOTNET_POOL_SIZE": "1"}),
        ({"API_DOTNET_REPLICAS": "3", "POSTGRES_POOL_SIZE": "20"}, {}),
    ],
)
def test_pools_leave_room_during_an_update(replicas: dict[str, str], sizes: dict[str, str]) -> None:
    """The .NET API has twice as many containers then; two are its usual number in production."""
    assert servers.spellings(replicas, False) == sizes


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        ("25", {"POSTGRES_MAX_CONNECTIONS": "25", "ELSA_POOL_SIZE": "8", "API_DOTNET_POOL_SIZE": "3"}),
        ("100", {}),
        ("400", {"POSTGRES_MAX_CONNECTIONS": "400"}),
        ("", {}),
    ],
)
def test_pools_fit_what_an_external_server_allows(limit: str, sizes: dict[str, str]) -> None:
    known = {"POSTGRES_MAX_CONNECTIONS": limit}
    found = servers.spellings({"POSTGRES_HOST": "db.example.org"}, False, known)
    assert {name: value for name, value in found.items() if "OPTIONS" not in name} == sizes
    assert servers.spellings({}, False, known) == {}


def test_a_server_that_does_not_say_its_limit_is_asked_in_vain() -> None:
    assert servers.connections({}, "") == ""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert servers.connections({"POSTGRES_HOST": "127.0.0.1", "POSTGRES_HOST_PORT": str(port)}, "") == ""
