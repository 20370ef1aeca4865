# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gets a sentence, and the running stack stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.bench.names import REGISTRY_ADDRESS
from tests.integration.conftest import PrivateRegistry, Stack

# What somebody may take for a secret, and for a hash or a key.
EASY = "Change-Me-In-Production-2026!"
ASKED = {"tamma_stack_without_login": False}
PLAIN = "a-plain-password-of-somebody"


#: Name → what a run is asked for, and a part of what it says.
Cases = dict[str, tuple[dict[str, object], str]]
#: Variables that make no sense.
NONSENSE: Cases = {
    "unknown-variable": (
        {"tamma_stack_verison": "0.2.0"},
        "There is no variable tamma_stack_verison: did you mean tamma_stack_version.",
    ),
    "unknown-setting": (
        {"tamma_stack_environment": {"DASHBORD_PORT": "8080"}},
        "has the setting DASHBORD_PORT, which no service reads: did you mean DASHBOARD_PORT.",
    ),
    "no-owner": (
        {"tamma_stack_github_owner": ""},
        "tamma_stack_github_owner is not set: give it the organisation",
    ),
    "no-repository": (
        {"tamma_stack_github_repo": ""},
        "tamma_stack_github_repo is not set: give it the repository",
    ),
    "no-token": ({"tamma_stack_github_token": ""}, "tamma_stack_github_token is not set: give it"),
    "no-key": ({"tamma_stack_anthropic_api_key": ""}, "tamma_stack_anthropic_api_key is not set: give it"),
    "short-key": (
        {"tamma_stack_elsa_signing_key": "short"},
        "tamma_stack_elsa_signing_key is 5 characters long and needs at least 32.",
    ),
    "secret-setting": (
        {"tamma_stack_environment": {"POSTGRES_PASSWORD": "x"}},
        "has POSTGRES_PASSWORD, which is not set there",
    ),
    "setting-of-ours": (
        {"tamma_stack_environment": {"COMPOSE_FILE": "x"}},
        "has COMPOSE_FILE, which is not set there",
    ),
    "service-of-nobody": (
        {"tamma_stack_service_environment": {"tamma-enigne": {"NO_COLOR": 1}}},
        "names the service tamma-enigne, which this stack does not have: did you mean tamma-engine.",
    ),
    "engine-elsewhere": (
        {
            "tamma_stack_engine_runs": "api",
            "tamma_stack_service_environment": {"tamma-engine": {"NO_COLOR": 1}},
        },
        "names the service tamma-engine, which this stack does not have",
    ),
    "variable-of-ours": (
        {"tamma_stack_service_environment": {"tamma-engine": {"GITHUB_TOKEN": PLAIN}}},
        "has GITHUB_TOKEN for tamma-engine, which the collection sets: use tamma_stack_github_token.",
    ),
    "token-and-app": (
        {
            "tamma_stack_github_app_id": 1,
            "tamma_stack_github_app_installation_id": 2,
            "tamma_stack_github_app_private_key": PLAIN,
        },
        "and tamma_stack_github_app_id are both set",
    ),
    "app-key": (
        {
            "tamma_stack_github_token": "",
            "tamma_stack_github_app_id": 1,
            "tamma_stack_github_app_installation_id": 2,
            "tamma_stack_github_app_private_key": PLAIN,
        },
        "tamma_stack_github_app_private_key is no private key in PEM form",
    ),
    "beyond-ascii": (
        {"tamma_stack_rabbitmq_user": "tämma"},
        "tamma_stack_rabbitmq_user holds characters beyond ASCII",
    ),
    "line-break": ({"tamma_stack_jwt_secret": "two\nlines"}, "TAMMA_JWT_SECRET holds a line break"),
    "batches": (
        {"tamma_stack_update_batches": "1,half"},
        "tamma_stack_update_batches has the step 'half': give a number",
    ),
    "engine-without-login": (
        {"tamma_stack_engine_runs": "api", "tamma_stack_environment": {"TAMMA_ENABLE_AUTH": "true"}},
        "tamma_stack_engine_runs is set, but with TAMMA_ENABLE_AUTH nobody can tell the engine inside tamma-api",
    ),
    "half-a-container": (
        {"tamma_stack_environment": {"API_DOTNET_REPLICAS": "1.5"}},
        "has API_DOTNET_REPLICAS '1.5': give a whole number of containers.",
    ),
    "an-endless-pause": (
        {"tamma_stack_environment": {"WORKFLOW_SYNC_INTERVAL": 9999999}},
        "has WORKFLOW_SYNC_INTERVAL '9999999': give 4294967 at most.",
    ),
    "two-search-paths": (
        {
            "tamma_stack_overrides": {
                "services": {
                    "elsa-server": {
                        "environment": {
                            "ConnectionStrings__DefaultConnection": "Host=a;Search Path=public;SearchPath=b"
                        }
                    }
                }
            }
        },
        "has a connection string of elsa-server with Search Path and SearchPath",
    ),
    "webhook": (
        {"tamma_stack_hooks": {"webhook": "hooks.example.org/T0"}},
        "tamma_stack_hooks.webhook is no address",
    ),
}
#: What is seen when the host, its registry or its stack is looked at.
UNFIT: Cases = {
    "profile": ({"tamma_stack_profile": "developmnet"}, "must be one of: development"),
    "version": (
        {"tamma_stack_version": "9.9.9"},
        "The registry has no image registry.bench:5000/tamma-api-dotnet:9.9.9",
    ),
    "registry": (
        {"tamma_stack_registry": "registry.invalid:5000"},
        "The registry registry.invalid:5000 cannot be reached from this host",
    ),
    "override": (
        {"tamma_stack_overrides": {"services": {"tamma-api": {"imag": "x"}}}},
        "Docker Compose does not accept the stack's files: validating docker-compose.override.yml",
    ),
    "another-password": (
        {"tamma_stack_postgres_password": "another-password-than-before"},
        "POSTGRES_PASSWORD differs from the value that postgres was first started with",
    ),
    "one-port-for-two": (
        {"tamma_stack_environment": {"DASHBOARD_PORT": 3000}},
        "Port 3000 would be published by tamma-api-dotnet and by tamma-dashboard",
    ),
    "deadline": ({"tamma_stack_deadlines": {"tamma-api": "10m"}}, "The deadline of tamma-api is '10m'"),
}
#: Such of production.
IN_PRODUCTION: Cases = {
    "easy-password": (
        {"tamma_stack_postgres_password": "tamma_dev_only"},
        "tamma_stack_postgres_password is a placeholder or easily",
    ),
    "easy-key": (
        {"tamma_stack_elsa_api_key": "Change_Me!"},
        "tamma_stack_elsa_api_key is a placeholder or easily guessed",
    ),
    "no-login": ({"tamma_stack_edge_users": {}}, "An edge without a login is refused"),
    "no-login-in-lite": (
        {"tamma_stack_profile": "lite", "tamma_stack_edge": True, "tamma_stack_edge_users": {}, **ASKED},
        "An edge without a login is refused",
    ),
    "no-login-without-an-edge": (
        {"tamma_stack_profile": "development", **ASKED},
        "TAMMA_BIND_ADDRESS lets others than the host reach every service without a login",
    ),
    "easy-password-in-development": (
        {"tamma_stack_profile": "development", "tamma_stack_postgres_password": "tamma_dev_only"},
        "tamma_stack_postgres_password is a placeholder or easily",
    ),
    "no-login-at-rabbitmq": (
        {
            "tamma_stack_edge_users": {},
            "tamma_stack_edge_rabbitmq_domain": "r.example",
            "tamma_stack_without_login": True,
        },
        "tamma_stack_edge_rabbitmq_domain is set, and the edge has no login",
    ),
    "false-login": (
        {"tamma_stack_edge_users": {}, "tamma_stack_environment": {"TAMMA_ENABLE_AUTH": True}},
        "and TAMMA_ENABLE_AUTH is none, because Tamma answers every login with 401",
    ),
    "clear-text": (
        {"tamma_stack_service_environment": {"tamma-engine": {"OPENROUTER_API_KEY": PLAIN}}},
        "has OPENROUTER_API_KEY of tamma-engine in clear text, which production refuses",
    ),
    "no-edge": ({"tamma_stack_edge": False}, "Production publishes the edge alone"),
    "two-logins": (
        {"tamma_stack_edge_forward_auth": "http://login:4180"},
        "are both set, and a request is asked for one login only",
    ),
    "plain-password": (
        {"tamma_stack_edge_users": {"alice": PLAIN}},
        "has something else than a bcrypt hash for alice",
    ),
    "no-domain": ({"tamma_stack_domain": "tamma.example.org {"}, "which is no domain name"),
    "all-open": ({"tamma_stack_edge_open_paths": ["/api/*", "/*"]}, "has '/*', which opens everything"),
    "apis-open": (
        {"tamma_stack_edge_open_paths": ["/elsa-api/*"]},
        "has '/elsa-api/*', behind which Tamma asks for no login: name single paths.",
    ),
    "no-certificate": (
        {
            "tamma_stack_edge_tls": "files",
            "tamma_stack_edge_certificate": "no certificate",
            "tamma_stack_edge_certificate_key": PLAIN,
        },
        "tamma_stack_edge_certificate is no certificate in PEM form",
    ),
}
#: What this host is too small for.
TOO_MUCH: Cases = {
    "memory": ({"tamma_stack_minimum_memory_mb": 9999999}, "tamma_stack_minimum_memory_mb"),
    "disk": ({"tamma_stack_minimum_disk_gb": 9999999}, "tamma_stack_minimum_disk_gb"),
}


#: All of them are one host, and may have to wait for each other.
PATIENT = {"tamma_stack_lock_timeout": 120}


def refusal(stack: Stack, **variables: object) -> str:
    """The output of a run that must fail."""
    outcome = stack.play("site", variables=variables)
    assert outcome.status != 0
    return " ".join(outcome.output.split())


@pytest.fixture(scope="module")
def told(stack: Stack) -> dict[str, str]:
    """Case → with what it was refused: a run ends at the first task that refuses one, and the next has those left."""
    waiting = {**PATIENT, "tamma_stack_profile": "production"}
    left = {name: {**waiting, **variables} for name, (variables, _) in IN_PRODUCTION.items()}
    left |= {name: {**PATIENT, **case[0]} for name, case in {**NONSENSE, **UNFIT, **TOO_MUCH}.items()}
    before, found = stack.state(), {}
    while left:
        outcome = stack.play_each("site", left)
        assert PLAIN not in outcome.output
        assert outcome.refused, outcome.output
        for name, words in outcome.refused.items():
            found[name] = " ".join(words.split())
            del left[name]
    assert stack.state() == before
    return found


def other_answers(told: dict[str, str], cases: Cases) -> list[str]:
    """The cases that were not refused with their sentence."""
    return [f"{name}: {told[name]}" for name, (_, sentence) in cases.items() if sentence not in told[name]]


def test_variables_that_make_no_sense(told: dict[str, str]) -> None:
    assert other_answers(told, {**NONSENSE, **IN_PRODUCTION}) == []


def test_a_host_that_is_too_small(told: dict[str, str]) -> None:
    assert other_answers(told, TOO_MUCH) == []


@pytest.mark.parametrize("name", UNFIT)
def test_refused_with_a_sentence(told: dict[str, str], name: str) -> None:
    assert UNFIT[name][1] in told[name]


#: What nobody but the host reaches may have an easy secret.
ALONE = {
    "tamma_stack_environment": {
        "POSTGRES_IMAGE": f"{REGISTRY_ADDRESS}/postgres:15",
        "RABBITMQ_IMAGE": f"{REGISTRY_ADDRESS}/rabbitmq:3",
        "TAMMA_BIND_ADDRESS": "127.0.0.1",
    }
}


@pytest.fixture
def with_a_placeholder(stack: Stack) -> Iterator[Stack]:
    """The host with a secret from an example, which it was given while nobody else reached it."""
    assert stack.play("site", variables={**ALONE, "tamma_stack_jwt_secret": EASY}).status == 0
    yield stack
    assert stack.play("site").status == 0


def test_a_secret_on_the_host_that_production_refuses(with_a_placeholder: Stack) -> None:
    before = with_a_placeholder.containers()
    kept = {"tamma_stack_jwt_secret": ""}
    assert with_a_placeholder.play("site", variables={**ALONE, **kept}).unchanged
    sentence = "What this host has for TAMMA_JWT_SECRET is a placeholder or easily guessed"
    for options in ((), ("--check",)):
        outcome = with_a_placeholder.play("site", *options, variables={"tamma_stack_profile": "production", **kept})
        assert outcome.status != 0
        assert sentence in " ".join(outcome.output.split())
        assert EASY not in outcome.output
    assert with_a_placeholder.containers() == before
    rotated = with_a_placeholder.play(
        "rotate_secrets", variables={**ALONE, **kept, "tamma_stack_rotate": ["TAMMA_JWT_SECRET"]}
    )
    assert rotated.status == 0, rotated.output
    accepted = with_a_placeholder.play("site", "--check", variables={"tamma_stack_profile": "production", **kept})
    assert accepted.status == 0, accepted.output


def test_every_problem_is_said_at_once(untouched: Stack) -> None:
    answer = refusal(untouched, tamma_stack_github_owner="", tamma_stack_github_repo="", tamma_stack_verison="1")
    assert all(name in answer for name in ("github_owner is not set", "github_repo is not set", "tamma_stack_verison"))


def test_taken_port(untouched: Stack) -> None:
    untouched.shell("nohup python3 -m http.server 8099 >/dev/null 2>&1 & echo $! > /root/server")
    try:
        untouched.shell("until curl -s -o /dev/null http://127.0.0.1:8099/; do :; done")
        answer = refusal(untouched, tamma_stack_environment={"DASHBOARD_PORT": "8099"})
        assert "Port 8099, which tamma-dashboard would publish, is taken by python3 (process" in answer
    finally:
        untouched.shell("kill $(cat /root/server)")


def test_refused_login(untouched: Stack, private_registry: PrivateRegistry) -> None:
    """Without a login, and with a wrong one."""
    registry = private_registry.address
    asked = {
        "tamma_stack_registry": registry,
        "tamma_runtime_insecure_registries": [REGISTRY_ADDRESS, registry],
    }
    wrong = [{"registry": registry, "username": private_registry.username, "password": "not-the-password"}]
    sentence = f"The registry refused the login for {registry}/tamma-api-dotnet"
    assert sentence in refusal(untouched, **asked)
    answer = refusal(untouched, **asked, tamma_stack_registry_logins=wrong)
    assert sentence in answer
    assert "not-the-password" not in answer


def test_another_engine(untouched: Stack) -> None:
    sentence = (
        r"The stack tamma of this host belongs to Docker \(7 containers, \d volumes\), and is asked for on Podman\."
    )
    answer = refusal(untouched, tamma_runtime_engine="podman")
    assert re.search(sentence, answer)
    # That its own ports are taken would only distract.
    assert "docker-proxy" not in answer
    for playbook in ("status", "teardown"):
        outcome = untouched.play(playbook, variables={"tamma_runtime_engine": "podman"})
        assert outcome.status != 0
        assert re.search(sentence, outcome.output)


def test_unsupported_distribution(untouched: Stack) -> None:
    untouched.shell("cp -P /etc/os-release /root/os-release && rm /etc/os-release")
    untouched.shell("printf 'ID=slackware\\nVERSION_ID=15.0\\nPRETTY_NAME=Slackware\\n' > /etc/os-release")
    try:
        assert "Slackware" in refusal(untouched)
    finally:
        untouched.shell("rm /etc/os-release && cp -P /root/os-release /etc/os-release")
