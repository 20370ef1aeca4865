# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that tell the operator what happens."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.progress import ProgressFile


def test_a_follower_sees_each_line_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run" / "progress"
    progress = ProgressFile(str(path))
    assert path.read_text() == ""
    progress("pull", "postgres:15-alpine")
    progress("apply", "postgres: starting")
    assert path.read_text().splitlines() == progress.lines
    assert re.fullmatch(r" +\d+\.\d s  pull    postgres:15-alpine", progress.lines[0])
    assert re.fullmatch(r" +\d+\.\d s  apply   postgres: starting", progress.lines[1])


def test_only_its_owner_may_read_and_nothing_stays(tmp_path: Path) -> None:
    path = tmp_path / "run" / "progress"
    progress = ProgressFile(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    progress("plan", "reading the stack")
    progress.close()
    assert not path.exists()
    assert len(progress.lines) == 1
    progress.close()


def test_a_file_that_somebody_put_there_is_not_written_to(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    (tmp_path / "progress").symlink_to(target)
    with pytest.raises(FileExistsError):
        ProgressFile(str(tmp_path / "progress"))
    assert target.read_text() == ""


def test_lines_without_a_file() -> None:
    progress = ProgressFile()
    progress("plan", "reading the stack")
    progress.close()
    assert progress.lines[0].endswith("plan    reading the stack")


def test_lines_of_several_threads_stay_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = ProgressFile(str(path))

    def report(name: str) -> None:
        for _ in range(50):
            progress("pull", name * 200)

    threads = [threading.Thread(target=report, args=(name,)) for name in "abcd"]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(progress.lines) == 200
    assert path.read_text().splitlines() == progress.lines
