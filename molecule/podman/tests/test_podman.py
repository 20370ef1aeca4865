"""Podman on the host, as the role has set it up."""

from __future__ import annotations

import json

from testinfra.host import Host


def test_the_interface_answers_and_comes_back_after_a_reboot(host: Host) -> None:
    socket = host.service("podman.socket")
    assert socket.is_running
    assert socket.is_enabled


def test_docker_is_not_there(host: Host) -> None:
    assert not host.exists("docker")
    assert not host.exists("dockerd")


def test_images_are_stored_without_copies_and_names_are_known_in_the_network(host: Host) -> None:
    info = json.loads(host.check_output("podman info --format json"))
    assert info["store"]["graphDriverName"] == "overlay"
    assert info["host"]["networkBackend"] == "netavark"
    assert info["host"]["networkBackendInfo"]["dns"]["version"]


def test_short_names_are_docker_hub_s(host: Host) -> None:
    # Nobody has this image; what Podman says of it names the registry that it asked.
    asked = host.check_output(
        "curl --silent --max-time 60 --unix-socket /run/podman/podman.sock --request POST "
        "'http://engine/images/create?fromImage=no-such-name-in-any-list&tag=1'"
    )
    assert "docker.io" in asked
