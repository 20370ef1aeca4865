# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that the stack's Compose files and .env.example keep."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.formats import parse_dotenv
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import parse
from tests.tools import stack_files

FILES = Path(__file__).resolve().parents[2] / "roles/tamma_stack/files"
BASE = "docker-compose.yml"
TEXTS = stack_files.texts()
DOCUMENTS: dict[str, dict[str, Any]] = {name: parse(text) for name, text in TEXTS.items()}
EXAMPLE = (FILES / "env.example").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = DOCUMENTS[BASE]["services"]

every_service = pytest.mark.parametrize("name", sorted(SERVICES))
every_file = pytest.mark.parametrize("name", sorted(TEXTS))


def used(text: str) -> set[str]:
    """The names of the variables in a Compose file, those within defaults too."""
    without_comments = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).replace("$$", "")
    return set(re.findall(r"\$\{?([A-Za-z_]\w*)", without_comments))


def example_settings() -> list[tuple[str, str, bool]]:
    """Each setting of .env.example: name, value, and whether it is commented out."""
    found = re.findall(r"^(# )?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE)
    return [(name, value, bool(comment)) for comment, name, value in found]


# -- Compose files --------------------------------------------------------------------------


def test_the_seven_services() -> None:
    assert set(SERVICES) == {
        "postgres",
        "rabbitmq",
        "elsa-server",
        "tamma-api-dotnet",
        "tamma-api",
        "tamma-engine",
        "tamma-dashboard",
    }


@every_file
def test_ports_are_published_by_the_development_overlay_and_by_the_edge(name: str) -> None:
    publishing = {service for service, item in DOCUMENTS[name]["services"].items() if "ports" in item}
    expected = {"docker-compose.dev.yml": publishing & set(SERVICES), "docker-compose.edge.yml": {"edge"}}
    assert publishing == expected.get(name, set())
    assert bool(publishing) == (name in expected)


def test_the_development_overlay_publishes_on_the_loopback_address() -> None:
    for service in DOCUMENTS["docker-compose.dev.yml"]["services"].values():
        for port in service["ports"]:
            assert re.fullmatch(r"\$\{TAMMA_BIND_ADDRESS:-127\.0\.0\.1\}:\$\{[A-Z_]+:-\d+\}:\d+", port)


@every_file
def test_overlays_change_services_that_exist(name: str) -> None:
    with_edge = ("docker-compose.edge.yml", "docker-compose.podman-edge.yml")
    assert set(DOCUMENTS[name]["services"]) <= {*SERVICES, *(["edge"] if name in with_edge else [])}


@every_file
def test_nothing_is_built_on_the_host(name: str) -> None:
    assert not any("build" in service for service in DOCUMENTS[name]["services"].values())


@every_service
def test_every_image_can_be_replaced(name: str) -> None:
    assert re.match(r"\$\{[A-Z_]+_IMAGE:-", SERVICES[name]["image"])


@every_service
def test_every_service_has_a_health_check_that_begins_at_once(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert re.fullmatch(r"\d+s", check["start_interval"])
    assert re.fullmatch(r"\d+s", check["start_period"])


@every_service
def test_no_probe_asks_for_localhost(name: str) -> None:
    """Some images resolve it to ::1, where nobody listens."""
    assert "localhost" not in " ".join(SERVICES[name]["healthcheck"]["test"])


@every_service
def test_every_service_comes_back_after_a_crash(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert "restart_policy" not in SERVICES[name].get("deploy", {})


def test_postgres_survives_its_orphans_and_is_probed_over_tcp() -> None:
    assert SERVICES["postgres"]["init"] is True
    probe = SERVICES["postgres"]["healthcheck"]["test"]
    assert probe[1] == "pg_isready"
    assert probe[probe.index("-h") + 1] == "127.0.0.1"


def test_rabbitmq_keeps_its_name_and_thereby_its_queues() -> None:
    assert SERVICES["rabbitmq"]["hostname"]


def test_the_engine_may_finish_its_issue() -> None:
    assert SERVICES["tamma-engine"]["stop_grace_period"].startswith("${TAMMA_ENGINE_STOP_GRACE_PERIOD:-")


def test_an_update_stops_the_engine_before_requests_wait() -> None:
    """It asks nobody for its time: a service behind the edge would not be there meanwhile."""
    assert "tamma.edge-port" not in SERVICES["tamma-engine"]["labels"]


@every_service
def test_a_published_port_is_verified(name: str) -> None:
    published = DOCUMENTS["docker-compose.dev.yml"]["services"].get(name, {}).get("ports", [])
    targets = {port.rpartition(":")[2] for port in published}
    checks = SERVICES[name].get("labels", {}).get("tamma.verify", "").split()
    assert {check.partition("/")[0] for check in checks} <= targets
    assert bool(checks) == bool(targets - {"5432", "5672"})


@every_service
def test_a_stored_setting_is_one_that_the_service_reads(name: str) -> None:
    stored = SERVICES[name].get("labels", {}).get("tamma.stored-settings", "").split()
    assert set(stored) <= used(str(SERVICES[name].get("environment", "")))


@every_file
def test_no_single_file_is_mounted_that_an_engine_would_make_a_directory(name: str) -> None:
    """Short syntax makes a directory of what is missing."""
    for service in DOCUMENTS[name]["services"].values():
        for mount in service.get("volumes", []):
            if isinstance(mount, dict):
                # The engine's working directory is a directory, and may be made.
                assert mount["target"] == "/workspace" or mount["bind"]["create_host_path"] is False
            else:
                assert "." not in mount.partition(":")[0].removeprefix("./")


# -- .env.example ---------------------------------------------------------------------------


def test_the_example_lists_each_setting_once() -> None:
    names = [name for name, _value, _comment in example_settings()]
    assert sorted(names) == sorted(set(names))


def test_the_example_can_be_read_as_an_environment_file() -> None:
    uncommented = {name: value for name, value, comment in example_settings() if not comment}
    assert parse_dotenv(EXAMPLE) == uncommented


def test_the_required_keys_are_empty() -> None:
    values = parse_dotenv(EXAMPLE)
    for name in ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "GITHUB_OWNER", "GITHUB_REPO"):
        assert values[name] == ""


REAL_KEY = re.compile(
    r"gh[pousr]_\w|github_pat_|sk-\w|AKIA[0-9A-Z]{8}|xox[bp]-|eyJ[\w-]{8}|-----BEGIN|\b[0-9a-f]{32,}\b|[A-Za-z0-9+/]{40,}"
)


def test_the_example_holds_nothing_that_looks_like_a_real_key() -> None:
    assert REAL_KEY.findall(EXAMPLE) == []


@pytest.mark.parametrize(
    "key", ["ghp_x1", "github_pat_11AB", "sk-ant-api03", "AKIA12345678", "eyJhbGciOiJI", "0123456789abcdef" * 2]
)
def test_what_looks_like_a_real_key(key: str) -> None:
    assert REAL_KEY.search("KEY=" + key)
