# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins for the time of a pull, beside those that the host has."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login, client_config, logged_in
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

LOGIN = Login("ghcr.io", "robot", "pass:word ü")


def test_a_login_is_added_to_those_of_the_host() -> None:
    config = client_config([LOGIN], {"auths": {"other.example": {"auth": "eA=="}}, "HttpHeaders": {"a": "b"}})
    assert config["HttpHeaders"] == {"a": "b"}
    assert set(config["auths"]) == {"other.example", "ghcr.io"}
    assert base64.b64decode(config["auths"]["ghcr.io"]["auth"]).decode() == "robot:pass:word ü"


@pytest.mark.parametrize("name", ["docker.io", "registry-1.docker.io"])
def test_docker_hub_has_a_name_of_its_own(name: str) -> None:
    assert list(client_config([LOGIN._replace(registry=name)], {})["auths"]) == ["https://index.docker.io/v1/"]


def test_a_credential_store_keeps_what_it_holds_and_is_not_asked_for_ours() -> None:
    config = client_config([LOGIN], {"credsStore": "pass", "auths": {"other.example": {}, "ghcr.io": {}}})
    assert "credsStore" not in config
    assert config["credHelpers"] == {"other.example": "pass"}


def test_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    asks = ["sh", "-c", 'stat -c %a "$DOCKER_CONFIG/config.json"; cat "$DOCKER_CONFIG/config.json"']
    with logged_in(Runner(), [LOGIN], str(tmp_path / "run" / "tamma-registry-")) as runner:
        mode, _, text = runner.run(asks).out.partition("\n")
        assert mode == "600"
        assert list(json.loads(text)["auths"]) == ["ghcr.io"]
    assert list((tmp_path / "run").iterdir()) == []


def test_without_a_login_the_host_s_own_configuration_counts(tmp_path: Path) -> None:
    with logged_in(Runner(), [], str(tmp_path / "x-")) as runner:
        assert runner.run(["sh", "-c", "echo ${DOCKER_CONFIG-none}"]).out == "none\n"
