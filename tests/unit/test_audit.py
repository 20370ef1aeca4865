# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import audit


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(audit, "DIRECTORY", str(tmp_path / "tamma"))
    return tmp_path / "tamma" / "tamma.log"


def test_lines_are_only_added(log: Path) -> None:
    assert audit.lines("tamma") == []
    for number in range(3):
        assert audit.append("tamma", {"to": number}) == ""
    assert [line["to"] for line in audit.lines("tamma")] == [0, 1, 2]
    assert stat.S_IMODE(os.stat(log).st_mode) == 0o640
    assert len(log.read_text(encoding="utf-8").splitlines()) == 3


def test_a_line_says_when_and_who_and_of_a_problem_the_first_line(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    audit.append("tamma", {"problem": "It failed:\nline\nline", "reason": "two\nlines"})
    (line,) = audit.lines("tamma")
    assert line["user"] == "alice"
    assert line["time"].endswith("Z")
    assert (line["problem"], line["reason"]) == ("It failed:", "two\nlines")
    assert log.exists()


def test_half_a_line_is_passed_over(log: Path) -> None:
    audit.append("tamma", {"to": 1})
    with log.open("a", encoding="utf-8") as file:
        file.write('{"to": 2\n[]\n')
    assert [line["to"] for line in audit.lines("tamma")] == [1]


def test_a_log_that_cannot_be_written_keeps_nobody_from_working(log: Path) -> None:
    log.parent.write_text("", encoding="utf-8")
    assert audit.append("tamma", {"to": 1}).startswith(str(log.parent))
    assert audit.lines("tamma") == []


def test_it_goes_with_the_last_stack(log: Path) -> None:
    audit.append("tamma", {})
    audit.append("other", {})
    assert audit.present("tamma") == [str(log)]
    audit.remove("tamma")
    assert audit.present("tamma") == []
    audit.remove("other")
    assert not log.parent.exists()
