# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of bytes for people, and room on file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.room import Need, check, human


@given(st.integers(0, 2**60))
def test_bytes_for_people(count: int) -> None:
    number, unit = human(count).split()
    factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(unit)
    assert abs(float(number) * factor - count) <= factor * 0.051
    assert float(number) < 1024 or unit == "TiB" or number == "1024.0"


def test_what_comes_to_one_file_system_counts_together(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    part = found.f_bavail * found.f_frsize * 6 // 10
    first, second = Need("images", str(tmp_path), part), Need("a backup", str(tmp_path / "not" / "yet"), part)
    check([first], "This release")
    check([second], "This release")
    with pytest.raises(OperatorError, match="This release needs") as refused:
        check([first, second], "This release")
    assert f"{human(part)} for images, {human(part)} for a backup" in refused.value.message
    assert refused.value.message.endswith("Nothing was changed.")


def test_nothing_needs_no_room() -> None:
    check([], "This release")
