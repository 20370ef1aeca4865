# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which secret goes into which file, whom it belongs to, and when its services are recreated."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import secret_files
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File
from ansible_collections.meywd.tamma.plugins.module_utils.secret_files import TABLE
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import parse
from tests.tools import stack_files
from tests.tools.roles import ROOT
from tests.unit.readers import read_node_environment, read_secret_file

TEXTS = stack_files.texts()
OVERLAY: dict[str, Any] = parse(TEXTS[secret_files.OVERLAY])
BASE: dict[str, Any] = parse(TEXTS["docker-compose.yml"])
SECRETS = ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "_PASSWORD", "ELSA_SIGNING_KEY", "ELSA_API_KEY", "TAMMA_JWT_SECRET")

every_service = pytest.mark.parametrize("service", sorted({place.service for place in TABLE}))


def environment(service: str) -> dict[str, str]:
    """Different values for all variables of a service that hold a secret."""
    return {place.variable: "%s of %s" % (place.variable, service) for place in TABLE if place.service == service}


def rendered(*services: str) -> dict[str, File]:
    return {
        item.path: item
        for item in secret_files.render({name: environment(name) for name in services}, TEXTS[secret_files.OVERLAY])
    }


# -- the table and the overlay --------------------------------------------------------------


def test_the_table_has_every_variable_that_is_made_of_a_secret() -> None:
    made = {
        (name, variable)
        for name, service in BASE["services"].items()
        for variable, value in service.get("environment", {}).items()
        if any(secret in value for secret in SECRETS)
    }
    assert {(place.service, place.variable) for place in TABLE} == made


@every_service
def test_the_overlay_takes_away_what_the_table_says_and_nothing_else(service: str) -> None:
    text = TEXTS[secret_files.OVERLAY]
    of_service = text.split("\n  %s:\n" % service)[1].split("\n\n")[0]
    reset = [line.partition(":")[0].strip() for line in of_service.splitlines() if line.endswith(": !reset null")]
    assert sorted(reset) == sorted(place.variable for place in TABLE if place.service == service)


@every_service
def test_the_overlay_mounts_the_files_of_the_table(service: str) -> None:
    sources = [OVERLAY["secrets"][item["source"]]["file"] for item in OVERLAY["services"][service]["secrets"]]
    assert sorted(sources) == sorted({"./" + place.path for place in TABLE if place.service == service})


def test_every_secret_file_of_the_overlay_is_mounted() -> None:
    mounted = {item["source"] for service in OVERLAY["services"].values() for item in service["secrets"]}
    assert mounted == set(OVERLAY["secrets"])


@every_service
def test_a_service_is_recreated_for_other_secrets_unless_it_keeps_them(service: str) -> None:
    labels = OVERLAY["services"][service]["labels"]
    stored = "tamma.stored-settings" in BASE["services"][service].get("labels", {})
    expected = None if stored else "${%s:-}" % secret_files.hash_setting(service)
    assert labels.get("tamma.secrets-hash") == expected


# -- content --------------------------------------------------------------------------------


def test_only_the_services_of_the_stack_get_files() -> None:
    assert set(rendered("postgres")) == {"secrets/postgres/password"}
    assert rendered("tamma-dashboard") == {}


def test_each_file_is_for_its_reader_alone_and_never_shown() -> None:
    files = rendered(*BASE["services"])
    assert {(item.mode, item.secret) for item in files.values()} == {(0o400, True)}
    assert set(files) == {place.path for place in TABLE}


@every_service
def test_each_variable_stands_in_its_file(service: str) -> None:
    files = rendered(service)
    for place in TABLE:
        if place.service == service:
            assert (
                read_secret_file(place.file, place.variable, files[place.path].content)
                == environment(service)[place.variable]
            )


def test_a_variable_that_an_overlay_took_away_stands_in_no_file() -> None:
    files = {item.path: item for item in secret_files.render({"tamma-api": {}}, TEXTS[secret_files.OVERLAY])}
    assert read_node_environment(files["secrets/tamma-api/environment.cjs"].content) == {}


#: The files that the overlay of the version before mounts.
FORMER_OVERLAY = """
  elsa-appsettings: {file: ./secrets/elsa-server/appsettings.json}
  api-github-token: {file: ./secrets/tamma-api/github-token}
  api-anthropic-api-key: {file: ./secrets/tamma-api/anthropic-api-key}
  api-environment: {file: ./secrets/tamma-api/environment.cjs}
  engine-github-token: {file: ./secrets/tamma-engine/github-token}
  engine-anthropic-api-key: {file: ./secrets/tamma-engine/anthropic-api-key}
  engine-environment: {file: ./secrets/tamma-engine/environment.cjs}
"""


def test_a_release_of_a_former_version_finds_the_files_that_it_mounts() -> None:
    """Its Compose files set what no service reads; a way back to it needs each file, as it was."""
    before = {
        "elsa-server": {**environment("elsa-server"), "RabbitMq__Password": "broker"},
        "tamma-engine": {**environment("tamma-engine"), "DATABASE_URL": "of the engine"},
        "tamma-api": {**environment("tamma-api"), "DATABASE_URL": "of the API"},
    }
    files = {item.path: item.content for item in secret_files.render(before, FORMER_OVERLAY)}
    assert read_node_environment(files["secrets/tamma-engine/environment.cjs"]) == {"DATABASE_URL": "of the engine"}
    assert read_node_environment(files["secrets/tamma-api/environment.cjs"]) == {
        "DATABASE_URL": "of the API",
        "TAMMA_JWT_SECRET": "TAMMA_JWT_SECRET of tamma-api",
    }
    assert files["secrets/tamma-engine/github-token"] == "GITHUB_TOKEN of tamma-engine"
    assert files["secrets/tamma-api/anthropic-api-key"] == "ANTHROPIC_API_KEY of tamma-api"
    settings = files["secrets/elsa-server/appsettings.json"]
    assert read_secret_file("appsettings.json", "RabbitMq__Password", settings) == "broker"
    assert "secrets/tamma-engine/github-token" not in rendered("tamma-engine")


# -- owners ---------------------------------------------------------------------------------


def project(**owners: str) -> Project:
    services = {
        name: Service(name, "image", 1, {}, [], [], {secret_files.OWNER_LABEL: owner}, "")
        for name, owner in owners.items()
    }
    return Project("tamma", services, [])


def test_a_file_belongs_to_the_user_that_the_label_names() -> None:
    files = rendered("postgres", "rabbitmq").values()
    given = secret_files.give_to_owners(files, project(postgres="70", rabbitmq="999"))
    assert {item.path: item.owner for item in given} == {
        "secrets/postgres/password": 70,
        "secrets/rabbitmq/rabbitmq.config": 999,
    }


@pytest.mark.parametrize("owner", ["postgres", "", "-1", "70:70"])
def test_a_label_that_is_no_user_id_is_refused(owner: str) -> None:
    with pytest.raises(OperatorError, match="The service postgres has the label tamma.secrets-owner: '%s'" % owner):
        secret_files.give_to_owners(rendered("postgres").values(), project(postgres=owner))


# -- hashes ---------------------------------------------------------------------------------


def test_a_hash_changes_with_the_secrets_of_its_service_alone() -> None:
    before = secret_files.render(
        {name: environment(name) for name in ("tamma-api", "tamma-engine")}, TEXTS[secret_files.OVERLAY]
    )
    after = [
        item._replace(content=item.content + "x") if item.path == "secrets/tamma-api/environment.cjs" else item
        for item in before
    ]
    old, new = secret_files.hashes(before, "key"), secret_files.hashes(after, "key")
    assert {name for name in old if old[name] != new[name]} == {"TAMMA_API_SECRETS_HASH"}
    assert secret_files.hashes(reversed(before), "key") == old


def test_nobody_can_try_secrets_against_a_hash_without_the_key() -> None:
    files = list(rendered("postgres").values())
    assert secret_files.hashes(files, "one key") != secret_files.hashes(files, "another key")


def test_the_documentation_of_a_rotation_names_the_services_that_are_replaced() -> None:
    """The servers are told of their passwords and stay."""
    text = (ROOT / "docs/rotation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
    said = {
        (secret, service)
        for secrets, services in rows
        for secret in re.findall("[A-Z_]+", secrets)
        for service in re.findall("`([a-z-]+)`", services)
    }
    servers = ("postgres", "rabbitmq")
    assert said == {(place.secret, place.service) for place in TABLE if place.service not in servers}
