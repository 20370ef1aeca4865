# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine a stack belongs to, when the other one is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import engines
from ansible_collections.meywd.tamma.plugins.module_utils.engines import DOCKER_SOCKET, PODMAN_SOCKET
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither engine is there, whatever this machine has."""
    gone = {"docker": str(tmp_path / "docker.sock"), "podman": str(tmp_path / "podman.sock")}
    monkeypatch.setattr(engines, "SOCKETS", gone)


def deployed(directory: Path, compose_files: str) -> str:
    (directory / ".env").write_text(f"COMPOSE_PROJECT_NAME=tamma\nCOMPOSE_FILE={compose_files}\n")
    return str(directory)


ON_DOCKER = "docker-compose.yml:docker-compose.dev.yml"
ON_PODMAN = "docker-compose.yml:docker-compose.dev.yml:docker-compose.podman.yml"


def test_a_stack_stays_where_it_is(tmp_path: Path) -> None:
    assert engines.elsewhere("tamma", deployed(tmp_path, ON_DOCKER), DOCKER_SOCKET) is None
    assert engines.elsewhere("tamma", deployed(tmp_path, ON_PODMAN), PODMAN_SOCKET) is None


def test_a_new_stack_goes_anywhere(tmp_path: Path) -> None:
    for socket in (DOCKER_SOCKET, PODMAN_SOCKET):
        assert engines.elsewhere("tamma", str(tmp_path), socket) is None


@pytest.mark.parametrize(
    ("compose_files", "socket", "other", "ours"),
    [(ON_DOCKER, PODMAN_SOCKET, "docker", "podman"), (ON_PODMAN, DOCKER_SOCKET, "podman", "docker")],
)
def test_a_stack_of_an_engine_that_does_not_answer(
    tmp_path: Path, compose_files: str, socket: str, other: str, ours: str
) -> None:
    with pytest.raises(OperatorError) as refused:
        engines.refuse_a_move("tamma", deployed(tmp_path, compose_files), socket)
    message = refused.value.message
    assert f"{engines.NAMES[other]} does not answer" in message
    assert f"(tamma_runtime_engine: {other}), or move it" in message
    assert f"--tags runtime (tamma_runtime_engine: {ours})" in message
    assert f"move {tmp_path} away" in message
