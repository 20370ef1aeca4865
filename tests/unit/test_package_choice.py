# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages bring an engine, on distributions that this repository's tests do not boot too."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.meywd.tamma.plugins.filter.package_choice import package_choice
from tests.tools.roles import ROOT

VARS = ROOT / "roles/tamma_runtime/vars"
MISSING = {
    "docker": ["engine", "client", "compose"],
    "podman": ["engine", "compose", "init", "network", "dns", "firewall"],
}
DOCKERS = {"engine": "docker-ce", "client": "docker-ce-cli", "compose": "docker-compose-plugin"}


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((VARS / f"{name}.yml").read_text(encoding="utf-8"))
    return found


def policy(versions: dict[str, str]) -> dict[str, str]:
    """The answer of apt-cache policy."""
    form = """{}:
  Installed: (none)
  Candidate: {}
  Version table:
     1.0-1 500
        500 http://archive.example.org/debian stable/main amd64 Packages
"""
    return {"stdout": "".join(form.format(name, version) for name, version in versions.items())}


def choose(
    engine: str,
    distribution: str,
    candidates: dict[str, Any],
    source: str = "auto",
    missing: list[str] | None = None,
    **known: Any,
) -> dict[str, Any]:
    probe = {
        "missing": MISSING[engine] if missing is None else missing,
        "host": {"name": "Distribution 1", "engine": {"name": engine, "installed": False, "origin": "none", **known}},
    }
    settings = load(distribution)
    names = {"distribution": settings["__tamma_runtime_distribution"], "docker": DOCKERS}
    extras = settings.get("__tamma_runtime_extras", [])
    return package_choice(probe, names, candidates, source, extras)


DEBIAN_13 = policy({"docker.io": "26.1.5+dfsg1-9+deb13u1", "docker-compose": "2.26.1-4", "podman": "5.4.2+ds1-2+b2"})
DEBIAN_12 = policy({"docker.io": "(none)", "docker-compose": "1.29.2-3", "podman": "4.3.1+ds1-8+deb12u1+b1"})
UBUNTU_24 = policy({"podman": "4.9.3+ds1-1ubuntu0.2", "docker-compose-v2": "2.40.3+ds1-0ubuntu1~24.04.1"})
REDHAT_9 = {"results": [{"name": "podman", "version": "4.6.1"}, {"name": "podman", "version": "5.4.0"}]}
NOTHING: dict[str, Any] = {}
NO_LISTS = {"stdout": ""}


def test_docker_on_debian_13_is_debian_s() -> None:
    choice = choose("docker", "family_debian", DEBIAN_13)
    assert choice["packages"] == ["docker.io", "docker-cli", "docker-compose", "apparmor", "ca-certificates"]
    assert (choice["repository"], choice["refusal"], choice["sources"]) == (False, "", ["Distribution 1"])


@pytest.mark.parametrize("compose", ["1.29.2-3", "(none)"])
def test_docker_with_a_part_that_is_too_old_comes_from_docker_as_a_whole(compose: str) -> None:
    choice = choose("docker", "family_debian", policy({"docker.io": "26.1.5+dfsg1-9", "docker-compose": compose}))
    assert choice["packages"][:3] == ["docker-ce", "docker-ce-cli", "docker-compose-plugin"]
    assert choice["repository"]
    assert choice["sources"] == ["Docker's repository"]


def test_docker_of_a_distribution_that_is_asked_for_and_too_old_is_refused() -> None:
    refusal = choose("docker", "family_debian", DEBIAN_12, "distribution")["refusal"]
    assert refusal == (
        "Distribution 1 has no package of Docker Engine 25.0 and Compose 2.24 or later (on offer: docker-compose "
        "1.29.2-3, podman 4.3.1+ds1-8+deb12u1+b1). Set tamma_runtime_source to 'auto' or 'docker'."
    )


def test_without_lists_the_distribution_s_packages_are_assumed() -> None:
    for engine in ("docker", "podman"):
        choice = choose(engine, "family_debian", NO_LISTS)
        assert choice["unknown"]
        assert (choice["sources"], choice["refusal"]) == (["Distribution 1"], "")


def test_the_client_of_ubuntu_comes_with_its_engine() -> None:
    choice = choose("docker", "ubuntu", NO_LISTS)
    assert choice["packages"][:2] == ["docker.io", "docker-compose-v2"]


def test_what_is_missing_beside_docker_comes_from_where_docker_came_from() -> None:
    for origin, package in (("docker.io", "docker-compose"), ("docker-ce", "docker-compose-plugin")):
        choice = choose("docker", "family_debian", DEBIAN_13, missing=["compose"], installed=True, origin=origin)
        assert choice["packages"] == [package]
        assert not choice["repository"]


def test_an_old_compose_beside_docker_is_refused() -> None:
    known = {"installed": True, "origin": "docker.io"}
    choice = choose("docker", "family_debian", DEBIAN_12, missing=["compose"], **known)
    assert choice["refusal"].endswith("Install the missing compose yourself.")


def test_podman_on_debian_13() -> None:
    choice = choose("podman", "family_debian", DEBIAN_13)
    assert choice["packages"] == [
        *("podman", "docker-compose", "catatonit", "netavark", "aardvark-dns", "nftables"),
        *("apparmor", "ca-certificates"),
    ]
    assert (choice["repository"], choice["refusal"]) == (False, "")


def test_podman_of_debian_12_is_refused_whatever_the_source() -> None:
    for source in ("auto", "docker"):
        assert choose("podman", "family_debian", DEBIAN_12, source)["refusal"] == (
            "Distribution 1 has no package of Podman 4.9 or later (on offer: docker-compose 1.29.2-3, podman "
            "4.3.1+ds1-8+deb12u1+b1). Use Docker there (tamma_runtime_engine: docker), or a newer release of the "
            "distribution."
        )


def test_podman_on_ubuntu_24_04() -> None:
    choice = choose("podman", "ubuntu", UBUNTU_24)
    assert choice["packages"] == [
        *("podman", "docker-compose-v2", "catatonit", "netavark", "aardvark-dns", "iptables"),
    ]


def test_podman_on_rhel_9_has_its_compose_from_docker() -> None:
    choice = choose("podman", "family_redhat", REDHAT_9)
    assert choice["packages"] == [
        *("podman", "docker-compose-plugin", "catatonit", "netavark", "aardvark-dns", "iptables-nft"),
    ]
    assert (choice["repository"], choice["refusal"]) == (True, "")
    assert choice["sources"] == ["Distribution 1", "Docker's repository"]


def test_podman_of_an_old_minor_release_is_refused() -> None:
    assert (
        "no package of Podman 4.9" in choose("podman", "family_redhat", {"results": REDHAT_9["results"][:1]})["refusal"]
    )


def test_only_compose_is_added_to_a_podman_that_is_there() -> None:
    known = {"installed": True, "origin": "podman"}
    choice = choose("podman", "family_redhat", REDHAT_9, missing=["compose"], **known)
    assert (choice["packages"], choice["repository"]) == (["docker-compose-plugin"], True)


def test_no_compose_from_a_distribution_that_has_none() -> None:
    refusal = choose("podman", "family_redhat", REDHAT_9, "distribution")["refusal"]
    assert "no package of Compose 2.24" in refusal
    assert refusal.endswith("Set tamma_runtime_source to 'auto' or 'docker'.")


def test_docker_on_the_red_hat_family_is_docker_s() -> None:
    choice = choose("docker", "family_redhat", NOTHING)
    assert choice["packages"] == ["docker-ce", "docker-ce-cli", "docker-compose-plugin"]
    assert (choice["repository"], choice["unknown"]) == (True, False)
