# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that somebody downloads who has Docker Compose alone: what is in them, and what is open."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import yaml

from ansible_collections.meywd.tamma.plugins.module_utils.formats import parse_dotenv
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import interpolate, services
from tests.tools import option_b
from tests.tools.roles import ROOT

FILES = {path.name: path.read_text(encoding="utf-8") for path in (option_b.DEVELOPMENT, option_b.PRODUCTION)}
EXAMPLE = option_b.EXAMPLE.read_text(encoding="utf-8")
FOUR = {"GITHUB_TOKEN", "ANTHROPIC_API_KEY", "GITHUB_OWNER", "GITHUB_REPO"}
EVERY = pytest.mark.parametrize("text", FILES.values(), ids=FILES)


def stack(text: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def test_the_example_has_every_setting_and_asks_for_four() -> None:
    assert set(parse_dotenv(EXAMPLE)) == FOUR
    mentioned = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", EXAMPLE, re.MULTILINE))
    assert mentioned == set.union(*map(option_b.used, FILES.values()))


def test_only_the_four_values_have_to_be_there_on_a_machine_of_ones_own() -> None:
    assert set(re.findall(r"\$\{(\w+):\?", FILES["docker-compose.yml"])) == FOUR
    production = set(re.findall(r"\$\{(\w+):\?", FILES["docker-compose.production.yml"]))
    assert production == set(option_b.REQUIRED_IN_PRODUCTION)
    # No password that everybody knows.
    assert "dev_only" not in FILES["docker-compose.production.yml"]
    assert not re.search(r"(PASSWORD|SIGNING_KEY|JWT_SECRET):-", FILES["docker-compose.production.yml"])


def test_a_name_that_nobody_has_costs_no_hash() -> None:
    edge = stack(FILES["docker-compose.production.yml"])["services"]["edge"]
    caddyfile = interpolate(stack(FILES["docker-compose.production.yml"])["configs"]["edge"]["content"], {})
    (written,) = re.findall(r'@unknown not header_regexp Authorization "(.*)"', caddyfile)

    def known(user: str, settings: dict[str, str]) -> bool:
        names = interpolate(edge["environment"]["EDGE_NAMES"], settings)
        login = base64.b64encode(f"{user}:guess".encode()).decode()
        return re.search(written.replace("{$EDGE_NAMES}", names), f"Basic {login}") is not None

    assert [known(user, {}) for user in ("tamma", "tamm", "tammas", "root")] == [True, False, False, False]
    # Of another name nothing is known beforehand.
    assert known("alice", {"EDGE_USER": "alice"})


@EVERY
def test_what_is_inside_is_what_the_playbooks_deploy(text: str) -> None:
    configs = {name: interpolate(item["content"], {}) for name, item in stack(text)["configs"].items()}
    files = ROOT / "roles/tamma_stack/files"
    assert configs["init-db"] == (files / "postgres/init-db.sql").read_text(encoding="utf-8")
    assert configs["dashboard"] == (files / "nginx/default.conf.template").read_text(encoding="utf-8")


@EVERY
def test_it_mounts_nothing_of_the_directory_that_it_lies_in(text: str) -> None:
    named = set(stack(text)["volumes"])
    for service in stack(text)["services"].values():
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= named
        assert not {"build", "env_file", "secrets"} & service.keys()


@EVERY
def test_every_log_is_cut(text: str) -> None:
    for service in stack(text)["services"].values():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


@EVERY
def test_a_text_is_copied_into_no_root_that_is_read_only(text: str) -> None:
    with_configs = {name: item for name, item in stack(text)["services"].items() if "configs" in item}
    assert with_configs.keys() >= {"postgres", "tamma-dashboard"}
    assert not [name for name, item in with_configs.items() if item.get("read_only")]


def test_everything_is_on_the_loopback_address_or_behind_the_edge() -> None:
    values = dict.fromkeys(option_b.REQUIRED_IN_PRODUCTION, "x")
    development = services([FILES["docker-compose.yml"]], values)
    published = {port for service in development for port in service.ports}
    assert published == {("127.0.0.1", port) for port in (3000, 3001, 3100, 5000, 5432, 5672, 15672)}
    production = services([FILES["docker-compose.production.yml"]], values)
    assert {service.name: service.ports for service in production if service.ports} == {"edge": (("", 80), ("", 443))}
    assert {service.name for service in production} - {"edge"} == {service.name for service in development}


def test_two_containers_never_migrate_at_once() -> None:
    values = dict.fromkeys(option_b.REQUIRED_IN_PRODUCTION, "x")
    production = {item.name: item.replicas for item in services([FILES["docker-compose.production.yml"]], values)}
    assert (production["elsa-server"], production["tamma-api-dotnet"], production["tamma-dashboard"]) == (1, 1, 2)


def test_the_edge_asks_for_a_login_and_imports_no_file() -> None:
    text = option_b.caddyfile()
    snippets = set(re.findall(r"^\((\w+)\) \{", text, re.MULTILINE))
    assert set(re.findall(r"\bimport (\S+)", text)) <= snippets
    assert "basicauth @locked {\n        {$EDGE_USER} {$EDGE_PASSWORD_HASH}" in text
    environment = stack(FILES["docker-compose.production.yml"])["services"]["edge"]["environment"]
    assert set(re.findall(r"\{\$(\w+)", text)) == set(environment)


def test_the_readme_and_the_page_have_the_same_commands() -> None:
    commands = [
        re.findall(r"```console\n(curl .*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)[0]
        for name in ("README.md", "docs/option-b.md")
    ]
    assert commands[0] == commands[1]


BUILD = (option_b.DIRECTORY / "docker-compose.build.yml").read_text(encoding="utf-8")
DOCKERFILES = ROOT / "roles/tamma_images/files/docker"


def test_a_build_by_compose_is_that_of_the_bake_file() -> None:
    bake = (DOCKERFILES / "docker-bake.hcl").read_text(encoding="utf-8")
    defaults = dict(re.findall(r'^variable "(\w+)" \{ default = "(.*)" \}$', bake, re.MULTILINE))
    mine = dict(re.findall(r"^ +(\w+): \$\{\1:-([^}]*)\}$", BUILD, re.MULTILINE))
    assert mine
    assert mine == {name: defaults[name] for name in mine}
    for name, service in stack(BUILD)["services"].items():
        build = service["build"]
        image = service["image"].partition("}/")[2].partition(":")[0]
        assert f'target "{image}" {{' in bake, name
        text = (DOCKERFILES / build["dockerfile"].rpartition("/")[2]).read_text(encoding="utf-8")
        assert set(build["args"]) == set(re.findall(r"^ARG (\w+)=", text, re.MULTILINE)) - (
            set() if image == "tamma-engine" else {"CLAUDE_VERSION"}
        ), name
        assert set(re.findall(r"from=(files|nginx)\b", text)) == set(build["additional_contexts"]), name
        assert build.get("target", image) == image


def test_a_build_has_the_images_that_the_stack_has() -> None:
    images = {item.name: item.image for item in services([FILES["docker-compose.yml"]], dict.fromkeys(FOUR, "x"))}
    built = {item.name: item.image for item in services([BUILD], {"TAMMA_SOURCE": "/x"})}
    assert built == {name: image for name, image in images.items() if name not in ("postgres", "rabbitmq")}
