# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who comes to a stack completes what was cut off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import audit, backup, lock, on_host, rotation
from ansible_collections.meywd.tamma.plugins.module_utils.database import PIPES
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, record, write
from ansible_collections.meywd.tamma.plugins.module_utils.history import History
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Busy
from ansible_collections.meywd.tamma.plugins.module_utils.on_host import OnHost
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release, environment, known_settings
from tests.unit.test_history import entry

GIVEN, MADE = "GITHUB_TOKEN", "POSTGRES_PASSWORD"


class Work:
    """Stands for a deployment: ends the rotation."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.releases: list[Release] = []

    def make(self, release: Release, journal: Any) -> Any:
        self.releases.append(release)
        self.settings = environment(release, rotation.amended(known_settings(release), journal, release))
        return self

    def plan(self) -> None:
        return None

    def apply(self, _planned: None) -> None:
        rotation.ended(self.directory)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnHost:
    monkeypatch.setattr(on_host, "find_compose", lambda: "/bin/false")
    monkeypatch.setattr(lock, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(audit, "DIRECTORY", str(tmp_path / "log"))
    env = f"COMPOSE_PROJECT_NAME=tamma\nCOMPOSE_FILE=docker-compose.yml\n{GIVEN}=before\n{MADE}=before\n"
    write(str(tmp_path), [File(".env", env, 0o600)])
    record(str(tmp_path), [".env"])
    return OnHost("tamma", str(tmp_path), "/nowhere", lambda *_: None, "alice")


def test_nothing_is_completed_where_nothing_was_cut_off(host: OnHost) -> None:
    assert host.resume() == []
    assert audit.lines("tamma") == []


def test_a_rotation_ends_on_the_new_values(host: OnHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    History(str(tmp_path)).note(entry(3, options={"generated": [MADE]}))
    values = {GIVEN: "after", MADE: "after"}
    rotation.note(str(tmp_path), rotation.Journal(dict.fromkeys(values, "before"), values))
    work = Work(tmp_path)
    monkeypatch.setattr(host, "_make", work.make)
    assert host.resume() == [on_host.ROTATION]
    assert {name: work.settings[name] for name in values} == values
    (line,) = audit.lines("tamma")
    assert (line["what"], line["by"], line["to"]) == ("resume", "alice", 3)
    assert "after" not in str(line)
    assert host.resume() == []


def test_one_at_a_time(host: OnHost) -> None:
    with host.alone("update"), pytest.raises(Busy, match="worked on by an update"), host.locked("rollback"):
        pass


def test_a_host_without_compose_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_host, "find_compose", lambda: None)
    with pytest.raises(OperatorError, match="This host has no Docker Compose"):
        OnHost("tamma", "/opt/tamma", "/nowhere", lambda *_: None)


def test_from_where_somebody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "tamma1")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert on_host.whence() == "tamma1"
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    assert on_host.whence() == "tamma1, from 192.0.2.1"


def test_what_a_killed_backup_has_left_is_removed_and_told(
    host: OnHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_SCRATCH", str(tmp_path / "run"))
    volume = tmp_path / "volume"
    volume.mkdir()
    pipe, file = volume / "tamma-pipe", volume / "PG_VERSION"
    os.mkfifo(pipe)
    file.write_text("15")
    write(str(tmp_path / "run" / "tamma-backup-x"), [File(PIPES, f"{pipe}\n{file}\n{volume}/gone", 0o600)])
    (tmp_path / "run" / "other-backup-x").mkdir()
    assert host.resume() == [on_host.BACKUP]
    assert host.resume() == []
    assert [path.name for path in volume.iterdir()] == ["PG_VERSION"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["other-backup-x"]
