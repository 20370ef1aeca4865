# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restores keep in volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import kept, volumes
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.kept import Kept, choose, directories, is_former

FOUND = [Kept("database", "tamma_before_x", 10), Kept("directory", "/v/.tamma-before-x", 20)]


def test_only_what_restores_kept_is_listed(tmp_path: Path) -> None:
    """Beside a volume's content, and inside, where former versions have kept it; and nothing that a link leads to."""
    before = volumes.BEFORE
    for name in ("one/%sb" % before, "one/_data/%sa" % before, "one/_data/data", "two/_data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one" / "_data" / (before + "a") / "file").write_bytes(b"x" * 10000)
    (tmp_path / "one" / "_data" / (before + "link")).symlink_to(tmp_path / "two")
    found = directories([str(tmp_path / "two" / "_data"), str(tmp_path / "one" / "_data")])
    assert [(item.kind, item.name) for item in found] == [
        ("directory", str(tmp_path / "one" / "_data" / (before + "a"))),
        ("directory", str(tmp_path / "one" / (before + "b"))),
    ]
    assert found[0].bytes >= 10000
    assert found[1].bytes == 0


def test_what_is_named_is_chosen() -> None:
    assert choose(FOUND, []) == FOUND
    assert choose(FOUND, ["tamma_before_x"]) == FOUND[:1]
    assert choose([], []) == []


@pytest.mark.parametrize("name", ["tamma", "postgres", "/", "/v"])
def test_nothing_else_can_be_named(name: str) -> None:
    with pytest.raises(
        OperatorError, match="No restore or release has left anything that is called %s: 'tammactl backups'" % name
    ):
        choose(FOUND, ["tamma_before_x", name])


@pytest.mark.parametrize(
    ("name", "former"),
    [
        ("tamma_before_20260101t000000z", True),
        ("tamma", False),
        ("tamma_restoring", False),
        ("tamma_before_", False),
        ("tamma_before_mine", False),
        ("tamma_before_20260101t000000z2", False),
        ("tamma_before_20260101t000000z\n", False),
        ("other_before_20260101t000000z", False),
        ("tamma_before_20260101t000000z_before_20260101t000000z", False),
        ("tamma_guard_5", True),
        ("tamma_failed_12", True),
        ("tamma_guard_", False),
        ("tamma_guard_5x", False),
        ("tamma_guard_5_failed_5", False),
        ("other_failed_5", False),
        ("tamma_drill", False),
    ],
)
def test_only_former_databases_of_this_stack_count(name: str, former: bool) -> None:
    assert is_former(name, lambda mark: "tamma" + mark) == former


def test_a_name_that_was_cut_is_known() -> None:
    def called(mark: str) -> str:
        return ("x" * 60)[: 63 - len(mark)] + mark

    assert is_former(called("_before_20260101t000000z"), called)
    assert not is_former("x" * 60 + "_before_20260101t000000z", called)


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("tamma_guard_12", 12),
        ("tamma_failed_12", 0),
        ("tamma_before_20260101t000000z", 0),
        ("tamma_guard_1_failed_2", 0),
    ],
)
def test_a_copy_is_needed_also_when_nobody_remembers_its_release(name: str, release: int) -> None:
    assert kept.release_of(name) == release


def test_what_a_rollback_needs_goes_by_no_accident() -> None:
    found = [*FOUND, Kept("database", "tamma_guard_2", 10, 2)]
    assert choose(found, []) == FOUND
    assert choose(found, [], needed=True) == found
    with pytest.raises(OperatorError, match=r"tamma_guard_2 is the database from before release 2: .*add --needed"):
        choose(found, ["tamma_before_x", "tamma_guard_2"])
    assert choose(found, ["tamma_guard_2"], needed=True) == found[2:]
