# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values with which a service would die or never rest are refused, with one sentence each."""

from __future__ import annotations

import pytest

from ansible_collections.meywd.tamma.plugins.plugin_utils.settings import doubled, problems, shared_database


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"WORKFLOW_SYNC_INTERVAL": "0"}, "WORKFLOW_SYNC_INTERVAL '0': give a number from 1 on, else the .NET API"),
        ({"WORKFLOW_SYNC_INTERVAL": -1}, "'-1': give a number"),
        ({"WORKFLOW_SYNC_INTERVAL": "1.5"}, "'1.5': give a number"),
        ({"WORKFLOW_SYNC_INTERVAL": "4294968"}, "give 4294967 at most"),
        ({"WORKFLOW_SYNC_INTERVAL": "99999999999"}, "give 4294967 at most"),
        ({"API_DOTNET_REPLICAS": "two"}, "API_DOTNET_REPLICAS 'two': give a whole number of containers"),
        ({"DASHBOARD_REPLICAS": "1.5"}, "DASHBOARD_REPLICAS '1.5'"),
        ({"API_REPLICAS": -1}, "API_REPLICAS '-1'"),
        ({"ELSA_REPLICAS": "0"}, "leave ELSA out with tamma_stack_profile: lite"),
        ({"POSTGRES_POOL_SIZE": "many"}, "POSTGRES_POOL_SIZE 'many'"),
        ({"ELSA_LOG_LEVEL": "Trace"}, "ELSA_LOG_LEVEL 'Trace': give one of Verbose, Debug"),
        ({"DOTNET_LOG_LEVEL": "information"}, "DOTNET_LOG_LEVEL 'information'"),
        ({"JWT_AUTHORITY": "http://login.example.org"}, "which is no address with https"),
        ({"JWT_AUTHORITY": "login.example.org", "JWT_REQUIRE_HTTPS": "false"}, "which is no address with https"),
        ({"JWT_REQUIRE_HTTPS": "no"}, "JWT_REQUIRE_HTTPS 'no': give true or false"),
    ],
)
def test_refused(settings: dict[str, object], words: str) -> None:
    (problem,) = problems(settings)
    assert words in problem


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"WORKFLOW_SYNC_INTERVAL": 4294967, "DASHBOARD_REPLICAS": 0, "API_DOTNET_REPLICAS": "3"},
        {"WORKFLOW_SYNC_INTERVAL": 1, "ELSA_REPLICAS": "2", "POSTGRES_POOL_SIZE": "", "ELSA_LOG_LEVEL": "Fatal"},
        {"JWT_AUTHORITY": "https://login.example.org/realms/tamma"},
        {"JWT_AUTHORITY": "http://login.test", "JWT_REQUIRE_HTTPS": "False"},
    ],
)
def test_accepted(settings: dict[str, object]) -> None:
    assert list(problems(settings)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Host=a;Search Path=public;Password='x;SearchPath=y';search path=other", "Search Path and search path"),
        ("Maximum Pool Size=5;Host=a;MaxPoolSize=6", "Maximum Pool Size and MaxPoolSize"),
        ('Server=a;Password="a;"";Host=b";Host=c;', "Server and Host"),
        ("Host=a;Host=b;HOST=c", "Host and Host and HOST"),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_a_connection_string_that_says_something_twice(text: str, words: str, listed: bool) -> None:
    name = "ConnectionStrings__DefaultConnection"
    environment = ["A=b", f"{name}={text}"] if listed else {name: text}
    (problem,) = doubled({"services": {"elsa-server": {"environment": environment}, "postgres": None}})
    assert f"a connection string of elsa-server with {words}:" in problem
    assert "public" not in problem


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {
            "services": {
                "elsa-server": {"environment": {"ConnectionStrings__DefaultConnection": "Host=a;Port=1;User Id=b"}}
            }
        },
        {"services": {"elsa-server": {"environment": ["ConnectionStrings__DefaultConnection"]}}},
    ],
)
def test_other_overrides_are_fine(overrides: dict[str, object]) -> None:
    assert list(doubled(overrides)) == []


DATABASE = {"postgres_host": "db.example.org", "postgres_port": "5432", "postgres_database": "tamma"}


def test_a_database_that_elsa_of_other_hosts_uses() -> None:
    others: dict[str, dict[str, object]] = {
        "b": {"postgres_host": "DB.example.org.", "postgres_port": None},
        "c": {"postgres_host": "db.example.org", "profile": "lite"},
        "d": {"postgres_host": "db.example.org", "postgres_database": "other"},
    }
    (problem,) = shared_database(DATABASE, others)
    assert "a database that b uses as well" in problem
    assert list(shared_database({**DATABASE, "profile": "lite"}, others)) == []
    assert list(shared_database({"postgres_host": ""}, {"b": {"postgres_host": ""}})) == []
