# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack as it is read on its host, and when it is read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import secret_files, update
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, write
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack
from tests.unit.test_history import base

FILES = [File(".env", "TAMMA_VERSION=0.1.0\n"), File("docker-compose.yml", "services: {}\n")]


@pytest.fixture
def directory(tmp_path: Path) -> str:
    found = tmp_path / "stack"
    write(str(found), FILES)
    return str(found)


@pytest.fixture
def program(tmp_path: Path) -> str:
    """Stands for Compose: says what the stack is, and leaves a line for each time that it was asked."""
    path = tmp_path / "docker-compose"
    path.write_text(
        f"#!/bin/sh\necho asked >> {tmp_path}/asked\n"
        """echo '{"name": "tamma", "services": {"tamma-api": {"image": "api:1"}}}'\n""",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[], int]:
    return lambda: len((tmp_path / "asked").read_text(encoding="utf-8").splitlines())


def test_it_is_current_until_a_file_that_it_is_read_from_is_written(directory: str, program: str) -> None:
    for changed in (
        File(".env", "TAMMA_VERSION=0.2.0\n"),
        File("docker-compose.override.yml", "services: {}\n"),
        File(secret_files.STORE, "POSTGRES_PASSWORD='another'\n"),
    ):
        known = Stack("tamma", directory, Engine("/nowhere"), program)
        assert known.is_current()
        write(directory, [File("edge/upstreams/tamma-api.caddy", "to tamma-api:3100\n"), File("README.md", "notes")])
        assert known.is_current()
        write(directory, [changed])
        assert not known.is_current()


def test_the_same_text_written_anew_is_another_file(directory: str, program: str) -> None:
    known = Stack("tamma", directory, Engine("/nowhere"), program)
    write(directory, FILES[:1])
    assert not known.is_current()


def test_a_link_that_leads_nowhere_is_in_nobodys_way(directory: str, program: str) -> None:
    Path(directory, ".#docker-compose.override.yml").symlink_to("somebody@laptop.4242")
    assert Stack("tamma", directory, Engine("/nowhere"), program).is_current()


def test_an_update_asks_compose_once_for_what_stays(directory: str, program: str, asked: Callable[[], int]) -> None:
    def make(*_: object) -> Any:
        raise AssertionError("nothing is deployed here")

    wanted = base(Path(directory))._replace(project="tamma")
    work = update.Update(make, wanted, Engine("/nowhere"), program, lambda *_: None, update.Settings())
    assert list(work._stack().project.services) == ["tamma-api"]
    assert work._stack() is work._stack()
    assert asked() == 1
    write(directory, [File(".env", "TAMMA_VERSION=0.2.0\n")])
    assert work._stack().settings["TAMMA_VERSION"] == "0.2.0"
    assert asked() == 2


def test_without_an_env_file_there_is_no_stack(tmp_path: Path, program: str) -> None:
    with pytest.raises(OperatorError, match="There is no stack in"):
        Stack("tamma", str(tmp_path), Engine("/nowhere"), program)
