"""The development profile on one host, seen from the host."""

from __future__ import annotations

from typing import Any


def test_the_engine_runs_and_comes_back_after_a_reboot(host: Any) -> None:
    service = host.service("docker")
    assert service.is_running
    assert service.is_enabled


def test_compose_is_a_plugin_of_the_client(host: Any) -> None:
    assert host.run("docker compose version --short").succeeded
