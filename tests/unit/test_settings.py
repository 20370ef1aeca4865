# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of settings against the Compose files, and what the operator's own settings are told."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from jinja2 import ChainableUndefined
from jinja2.nativetypes import NativeEnvironment

from ansible_collections.meywd.tamma.plugins.action.tamma_validate import shared_repositories
from ansible_collections.meywd.tamma.plugins.module_utils import redact, secret_files
from ansible_collections.meywd.tamma.plugins.module_utils.release import SERVICE_ENVIRONMENT, hidden_in
from ansible_collections.meywd.tamma.plugins.plugin_utils import settings
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import interpolate, parse
from tests.tools import settings as made
from tests.tools import stack_files
from tests.tools.roles import ROOT

TABLE = made.table()
TEXTS = stack_files.texts()
SERVICES = ["tamma-api", "tamma-engine", "tamma-api-dotnet", "elsa-server"]
AWKWARD = '$HOME ${X:-y} " # é 𝄞 \\ud834 \x85 \u2028 end\nanother line'
CHECKED = sorted(item.name for item in TABLE.settings.values() if item.check)


def environments() -> set[tuple[str, str]]:
    """Each service with each variable that a Compose file sets for it."""
    return {
        (service, name)
        for text in TEXTS.values()
        for service, item in parse(text)["services"].items()
        for name in item.get("environment") or {}
    }


def used(text: str) -> set[str]:
    """The names of the settings in a Compose file, those within defaults too."""
    without_comments = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).replace("$$", "")
    return set(re.findall(r"\$\{?([A-Za-z_]\w*)", without_comments))


# -- the table and the Compose files --------------------------------------------------------


def test_every_setting_of_the_compose_files_is_in_the_table() -> None:
    read = set().union(*map(used, TEXTS.values()))
    by_compose_itself = {"COMPOSE_FILE", "COMPOSE_PROJECT_NAME"}
    told = {name for name, item in TABLE.settings.items() if not (item.unread or item.internal)}
    # RABBITMQ_HOST and its like are the collection's own.
    assert read | by_compose_itself == told


def test_a_service_is_told_what_it_reads_and_nothing_else() -> None:
    of_settings = {(service, name) for item in TABLE.settings.values() for service, name in item.services.items()}
    of_fixed = {(service, name) for service, names in TABLE.fixed.items() for name in names}
    assert environments() == of_settings | of_fixed
    assert not of_settings & of_fixed


def test_a_setting_reaches_the_variable_that_the_table_says() -> None:
    for item in TABLE.settings.values():
        for service, name in item.services.items():
            told = [
                parse(text)["services"].get(service, {}).get("environment", {}).get(name) for text in TEXTS.values()
            ]
            assert any(item.name in used(str(value)) for value in told if isinstance(value, str)), (item.name, service)


def test_what_nothing_reads_is_in_no_compose_file() -> None:
    unread = {name for name, item in TABLE.settings.items() if item.unread}
    assert unread == {"TAMMA_MODE", "TAMMA_MERGE_STRATEGY"}
    assert not unread & set().union(*map(used, TEXTS.values()))


def test_the_defaults_are_those_of_the_compose_files() -> None:
    defaults = {match for text in TEXTS.values() for match in re.findall(r"\$\{(\w+):-([^${}]*)\}", text)}
    shown = {(item.name, item.default) for item in TABLE.settings.values() if item.default and not item.unread}
    assert {pair for pair in shown if not pair[0].startswith("COMPOSE_")} <= defaults


def test_the_secrets_are_those_that_have_files() -> None:
    places = {(place.secret, place.service, place.variable) for place in secret_files.TABLE}
    assert places == {
        (item.name, *place) for item in TABLE.settings.values() if item.secret for place in item.services.items()
    }


def test_no_service_is_told_of_the_broker() -> None:
    """So a rotation of its password recreates nobody."""
    assert [place.service for place in secret_files.TABLE if place.secret == "RABBITMQ_PASSWORD"] == ["rabbitmq"]


@pytest.mark.parametrize("port", ["3001", "8080"])
def test_the_address_of_the_dashboard_follows_its_port(port: str) -> None:
    (address,) = {
        interpolate(
            parse(TEXTS["docker-compose.yml"])["services"][service]["environment"][name], {"DASHBOARD_PORT": port}
        )
        for service, name in TABLE.settings["DASHBOARD_URL"].services.items()
    }
    assert address == "http://localhost:%s" % port


# -- tamma_stack_environment ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
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
        ({"WORKFLOW_SYNC_INTERVAL": "4294968"}, "WORKFLOW_SYNC_INTERVAL '4294968': give 4294967 at most."),
        ({"WORKFLOW_SYNC_INTERVAL": "9" * 5000}, "give 4294967 at most."),
        ({"ELSA_REPLICAS": "1000"}, "ELSA_REPLICAS '1000': give 999 at most."),
        ({"API_DOTNET_REPLICAS": "two"}, "API_DOTNET_REPLICAS 'two': give a whole number of containers."),
        ({"POSTGRES_POOL_SIZE": "many"}, "POSTGRES_POOL_SIZE 'many'"),
        ({"ELSA_LOG_LEVEL": "Trace"}, "ELSA_LOG_LEVEL 'Trace': give one of Verbose, Debug"),
        ({"DOTNET_LOG_LEVEL": "information"}, "DOTNET_LOG_LEVEL 'information'"),
        ({"JWT_AUTHORITY": "http://login.example.org"}, "which is no address with https"),
        ({"JWT_AUTHORITY": "login.example.org", "JWT_REQUIRE_HTTPS": "false"}, "which is no address with https"),
        ({"JWT_REQUIRE_HTTPS": "no"}, "JWT_REQUIRE_HTTPS 'no': give true or false"),
        ({"TAMMA_PERMISSION_MODE": "everything"}, "give one of default, bypassPermissions"),
        ({"TAMMA_SANITIZE_CONTENT": "True"}, "give one of true, false"),
        ({"TAMMA_MAX_FETCH_SIZE_BYTES": "10M"}, "give a number from 1 on"),
        ({"GITHUB_API_BASE_URL": "me:password@ghe.example.org"}, "GITHUB_API_BASE_URL that is no address"),
        ({"EDGE_HTTPS_PORT": 2019}, "EDGE_HTTPS_PORT '2019': give a port, and none of 80 and 2019"),
        ({"EDGE_HTTPS_PORT": "8443-8450"}, "EDGE_HTTPS_PORT '8443-8450': give a port"),
        ({"DASHBORD_PORT": "1"}, "DASHBORD_PORT, which no service reads: did you mean DASHBOARD_PORT."),
        ({"COMPLETELY_DIFFERENT": "1"}, ".env.example lists those that exist."),
        ({"POSTGRES_PASSWORD": "x"}, "POSTGRES_PASSWORD, which is not set there: set tamma_stack_postgres_password."),
        ({"COMPOSE_FILE": "x"}, "COMPOSE_FILE, which is not set there: the collection works it out."),
        ({"SECRETS_HASH_KEY": "x"}, "SECRETS_HASH_KEY, which is not set there"),
    ],
)
def test_refused(given: dict[str, object], words: str) -> None:
    (problem,) = settings.problems(given, TABLE)
    assert words in problem
    assert "password@" not in problem


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"WORKFLOW_SYNC_INTERVAL": 4294967, "DASHBOARD_REPLICAS": 0, "API_DOTNET_REPLICAS": "3"},
        {"WORKFLOW_SYNC_INTERVAL": 1, "ELSA_REPLICAS": "2", "POSTGRES_POOL_SIZE": "", "ELSA_LOG_LEVEL": "Fatal"},
        {"API_DOTNET_REPLICAS": 0, "API_REPLICAS": "001", "WORKFLOW_SYNC_INTERVAL": "4294967"},
        {"JWT_AUTHORITY": "https://login.example.org/realms/tamma"},
        {"JWT_AUTHORITY": "http://login.test", "JWT_REQUIRE_HTTPS": "False"},
        {"TAMMA_SANITIZE_CONTENT": False, "TAMMA_PERMISSION_MODE": "", "POSTGRES_DB": "other", "TAMMA_MODE": "service"},
    ],
)
def test_accepted(given: dict[str, object]) -> None:
    assert list(settings.problems(given, TABLE)) == []


def test_every_check_refuses_something() -> None:
    assert {name for name in CHECKED if list(settings.problems({name: "\x00"}, TABLE))} == set(CHECKED)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"TAMMA_ENABLE_AUTH": True}, "locks everybody out of tamma-api"),
        ({"TAMMA_MERGE_STRATEGY": "merge"}, "No service of Tamma d99e932 of 2026-03-15 reads TAMMA_MERGE_STRATEGY"),
    ],
)
def test_warned_of(given: dict[str, object], words: str) -> None:
    (warning,) = settings.warnings(given, TABLE)
    assert words in warning
    assert list(settings.warnings({"TAMMA_ENABLE_AUTH": "false", "NODE_ENV": "x"}, TABLE)) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "[::]", "host.example.org"])
def test_an_address_that_others_reach_is_a_warning(address: str) -> None:
    (warning,) = settings.published({"TAMMA_BIND_ADDRESS": address})
    assert warning.startswith("TAMMA_BIND_ADDRESS is %s, so whoever reaches the host there has every service" % address)


@pytest.mark.parametrize("address", ["", None, "127.0.0.1", "127.0.1.1", "[::1]"])
def test_an_address_of_the_host_alone_is_fine(address: str | None) -> None:
    assert list(settings.published({"TAMMA_BIND_ADDRESS": address})) == list(settings.published({})) == []


# -- tamma_stack_service_environment --------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tamma-enigne": {"A": "b"}}, "which this stack does not have: did you mean tamma-engine."),
        ({"nginx": {"A": "b"}}, "which this stack does not have: it has elsa"),
        ({"tamma-engine": "A=b"}, "no dictionary for tamma-engine"),
        (["tamma-engine"], "is no dictionary"),
        ({"tamma-engine": {"A B": "c"}}, "'A B' for tamma-engine, which is no name"),
        ({"tamma-engine": {"A": ["canary"]}}, "something else than one text for A of tamma-engine"),
        ({"tamma-engine": {"GITHUB_TOKEN": "canary"}}, "which the collection sets: use tamma_stack_github_token."),
        ({"tamma-engine": {"TAMMA_MODEL": "canary"}}, "use TAMMA_AGENT_MODEL in tamma_stack_environment."),
        (
            {"elsa-server": {"CONNECTIONSTRINGS__defaultConnection": "canary"}},
            "put together from POSTGRES_DB, POSTGRES_HOST",
        ),
        (
            {"tamma-api-dotnet": {"TammaServer__Url": "canary"}},
            "change it in tamma_stack_overrides if you know better.",
        ),
        ({"tamma-engine": {"NODE_OPTIONS": "canary"}}, "change it in tamma_stack_overrides"),
    ],
)
def test_refused_for_a_service(given: Any, words: str) -> None:
    (problem,) = settings.service_problems(given, SERVICES, TABLE)
    assert words in problem
    assert "canary" not in problem


@pytest.mark.parametrize(("runs", "there"), [("engine", True), ("api", False)])
def test_the_engine_is_a_service_only_where_it_runs(runs: str, there: bool) -> None:
    environment = NativeEnvironment(undefined=ChainableUndefined)
    environment.filters["bool"] = bool
    expression = yaml.safe_load((ROOT / "roles/tamma_stack/vars/main.yml").read_text(encoding="utf-8"))
    given = {"tamma_stack_engine_runs": runs, "tamma_stack_profile": "lite", "tamma_stack_overrides": {}}
    services = environment.from_string(expression["__tamma_stack_services"]).render(given)
    problems = list(settings.service_problems({"tamma-engine": {"OPENROUTER_API_KEY": "x"}}, services, TABLE))
    assert bool(problems) != there
    assert all("names the service tamma-engine, which this stack does not have" in words for words in problems)


def test_what_is_known_and_what_nobody_knows_can_be_set() -> None:
    given = {
        "tamma-engine": {"OPENROUTER_API_KEY": "x", "ANY_NAME": 1},
        "tamma-api-dotnet": {"slack__webhookurl": "x", "Serilog__MinimumLevel__Override__A.B": "Debug"},
        "elsa-server": {"Anthropic__ApiKey": "x"},
    }
    assert list(settings.service_problems(given, SERVICES, TABLE)) == []
    assert list(settings.service_warnings(given, TABLE)) == []


def test_a_slip_of_the_finger_is_a_warning() -> None:
    given = {"tamma-api-dotnet": {"Slack__WebhokUrl": "canary"}, "elsa-server": {"Slack__WebhokUrl": "x"}}
    (warning,) = settings.service_warnings(given, TABLE)
    assert warning == (
        "tamma_stack_service_environment sets Slack__WebhokUrl for tamma-api-dotnet: did you mean Slack__WebhookUrl?"
    )


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OPENROUTER_API_KEY", "x", True),
        ("Jira__ApiToken", "x", True),
        ("Slack__WebhookUrl", "https://hooks.example.org/x", True),
        ("ANYTHING", "ghp_x", True),
        ("ANYTHING", "sk-ant-x", True),
        ("OPENROUTER_API_KEY", "", False),
        ("CI__PollIntervalMs", 5000, False),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "8000", False),
        ("GITHUB_TOKEN_LIMIT", 3, False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("SLACK_URL", "https://hooks.slack.com/services/T0", True),
        ("PROXY", "http://me:word@proxy.example.org", True),
        ("PROXY", "http://proxy.example.org:3128/a@b", False),
        ("Jira__BaseUrl", "https://jira.example.org", False),
    ],
)
def test_what_looks_like_a_secret(name: str, value: object, secret: bool) -> None:
    assert settings.looks_secret(name, value) == secret


def test_a_service_gets_the_value_as_it_is() -> None:
    given = {"tamma-engine": {"A": '$HOME ${X:-y} " # é', "B": True, "C": 1, "D": None}, "tamma-api": {}}
    overlay = yaml.safe_load(settings.service_overlay(given))
    (service,) = overlay["services"]
    read = {name: interpolate(value, {}) for name, value in overlay["services"][service]["environment"].items()}
    assert read == {"A": '$HOME ${X:-y} " # é', "B": "true", "C": "1", "D": ""}


def test_every_value_for_a_service_is_kept_out_of_texts() -> None:
    text = '{"services": {"tamma-engine": {"environment": {"NAME": "can$$ary one", "B": "canary two"}}}}'
    assert hidden_in(SERVICE_ENVIRONMENT, text) == ["can$ary one", "canary two"]
    assert hidden_in(SERVICE_ENVIRONMENT, "") == redact.environment_in("{}") == redact.environment_in("[]") == []


# -- own connection strings and databases ----------------------------------------------------


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
    (problem,) = settings.doubled({"services": {"elsa-server": {"environment": environment}, "postgres": None}})
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
    assert list(settings.doubled(overrides)) == []


DATABASE = {"postgres_host": "db.example.org", "postgres_port": "5432", "postgres_database": "tamma"}


def test_a_database_that_elsa_of_other_hosts_uses() -> None:
    others: dict[str, dict[str, object]] = {
        "b": {"postgres_host": "DB.example.org.", "postgres_port": None},
        "c": {"postgres_host": "db.example.org", "profile": "lite"},
        "d": {"postgres_host": "db.example.org", "postgres_database": "other"},
    }
    (problem,) = settings.shared_database(DATABASE, others)
    assert "a database that b uses as well" in problem
    assert list(settings.shared_database({**DATABASE, "profile": "lite"}, others)) == []
    assert list(settings.shared_database({"postgres_host": ""}, {"b": {"postgres_host": ""}})) == []


# -- engines of several hosts -----------------------------------------------------------------

WORK = {"tamma_stack_github_owner": "example", "tamma_stack_github_repo": "sandbox"}


class Broken(dict[str, Any]):
    """Variables of which one does not resolve."""

    def get(self, key: str, default: Any = None) -> Any:
        raise AnsibleError(f"{key} {default}")


def facts(here: str, hostvars: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    fleet = list(hostvars)
    return {
        "inventory_hostname": here,
        "ansible_play_hosts_all": fleet,
        "groups": {"tamma": fleet},
        "hostvars": hostvars,
        **more,
    }


def test_engines_that_take_the_same_issues() -> None:
    fleet: dict[str, dict[str, Any]] = {
        "a": WORK,
        "b": {
            **WORK,
            "tamma_stack_github_owner": "Example",
            "tamma_stack_environment": {"TAMMA_ISSUE_LABELS": "tamma"},
        },
        "c": {**WORK, "tamma_stack_environment": {"TAMMA_ISSUE_LABELS": "other"}},
        "d": {**WORK, "tamma_stack_github_repo": "another"},
        "e": {},
        "f": {},
        "g": Broken(WORK),
        "h": {**WORK, "tamma_stack_environment": None},
    }
    (warning,) = shared_repositories(facts("a", fleet))
    assert warning == (
        "The engines of a, b and h all take the issues of example/sandbox with the label tamma, and work on each of "
        "them at the same time: give each host a repository or a label (TAMMA_ISSUE_LABELS) of its own."
    )


def test_it_is_said_once_and_of_the_fleet_alone() -> None:
    fleet = {"a": dict(WORK), "b": dict(WORK)}
    assert list(shared_repositories(facts("b", fleet))) == []
    assert list(shared_repositories(facts("b", fleet, ansible_play_hosts_all=["b"]))) != []
    assert list(shared_repositories(facts("localhost", fleet, ansible_play_hosts_all=["localhost"]))) == []


def test_the_environment_of_the_controller_names_one_repository_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OWNER", "example")
    monkeypatch.setenv("GITHUB_REPO", "sandbox")
    (warning,) = shared_repositories(facts("a", {"a": {}, "b": WORK}))
    assert warning.startswith("The engines of a and b all take the issues of example/sandbox")
