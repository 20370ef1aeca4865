# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap of a volume, cut off at every one of its effects and begun again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils import restore
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.restore import (
    JOURNAL,
    Journal,
    pending,
    swap_directory,
    swap_directory_back,
)

BEFORE = restore.BEFORE + "20260101t000000z"
EFFECTS = ("rename", "rmdir", "mkdir")

Tree = dict[str, str]

names = st.sampled_from(["a", "b", "c", ".hidden", "d/e", "d/f", "g/h/i"])
trees = st.dictionaries(names, st.sampled_from(["1", "2"]), max_size=6)


class Killed(BaseException):
    """The process is not there any more."""


def build(directory: Path, tree: Tree) -> None:
    for name, content in tree.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content, encoding="utf-8")


def content(directory: Path) -> Tree:
    return {
        str(path.relative_to(directory)): path.read_text(encoding="utf-8")
        for path in directory.rglob("*")
        if path.is_file()
    }


def volume(place: Path, old: Tree, new: Tree) -> Path:
    """A volume with the files *old*, and the files *new* fetched beside them."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    build(place, old)
    coming = place / restore._COMING
    coming.mkdir()
    build(coming, new)
    return place


def interrupted(number: int, after: bool, place: Path, swap: Callable[[str, str], None] = swap_directory) -> int:
    """Swap, killed at the effect with that number; return how many effects there were."""
    count = 0
    with pytest.MonkeyPatch.context() as patch:

        def wrap(effect: Callable[..., Any]) -> Callable[..., Any]:
            def at(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == number and not after:
                    raise Killed
                result = effect(*arguments, **options)
                if count == number:
                    raise Killed
                return result

            return at

        for name in EFFECTS:
            patch.setattr(os, name, wrap(getattr(os, name)))
        with contextlib.suppress(Killed):
            swap(str(place), BEFORE)
    return count


def assert_swapped(place: Path, old: Tree, new: Tree) -> None:
    found = content(place)
    assert {name: text for name, text in found.items() if not name.startswith(".tamma-")} == new
    assert content(place / BEFORE) == old
    assert not (place / restore._COMING).exists()
    assert not (place / restore._ARRIVING).exists()


@given(trees, trees)
def test_what_was_there_is_kept_and_what_was_fetched_is_there(
    tmp_path_factory: pytest.TempPathFactory, old: Tree, new: Tree
) -> None:
    place = volume(tmp_path_factory.mktemp("swap") / "volume", old, new)
    swap_directory(str(place), BEFORE)
    assert_swapped(place, old, new)
    # Again, as after a kill right behind the last effect.
    swap_directory(str(place), BEFORE)
    assert_swapped(place, old, new)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a": "1", "b": "1", "d/e": "1"}, {"a": "2", "c": "2", "d/f": "2"}),
        ({}, {"a": "2", "b": "2"}),
        ({"a": "1", ".hidden": "1"}, {}),
    ],
)
def test_killed_at_any_effect_the_next_run_completes_it(tmp_path: Path, old: Tree, new: Tree, after: bool) -> None:
    number = 0
    while True:
        number += 1
        place = volume(tmp_path / "volume", old, new)
        effects = interrupted(number, after, place)
        # Nothing is lost meanwhile either.
        assert sorted(content(place).values()) == sorted([*old.values(), *new.values()])
        swap_directory(str(place), BEFORE)
        assert_swapped(place, old, new)
        if effects < number:
            break
    assert number > len(old) + len(new) - 2


@given(trees, trees, st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_killed_twice(
    tmp_path_factory: pytest.TempPathFactory, old: Tree, new: Tree, first: int, second: int, after: bool
) -> None:
    place = volume(tmp_path_factory.mktemp("swap") / "volume", old, new)
    interrupted(first, after, place)
    interrupted(second, not after, place)
    swap_directory(str(place), BEFORE)
    assert_swapped(place, old, new)


@given(trees, trees, st.integers(1, 12), st.booleans(), st.integers(1, 12), st.booleans())
def test_the_way_back_leads_from_everywhere(
    tmp_path_factory: pytest.TempPathFactory,
    old: Tree,
    new: Tree,
    forward: int,
    after: bool,
    back: int,
    back_after: bool,
) -> None:
    place = volume(tmp_path_factory.mktemp("back") / "volume", old, new)
    interrupted(forward, after, place)
    interrupted(back, back_after, place, swap_directory_back)
    swap_directory_back(str(place), BEFORE)
    assert content(place) == old
    assert not [name for name in os.listdir(place) if name.startswith(".tamma-")]


def test_a_volume_for_which_nothing_was_fetched_is_left_alone(tmp_path: Path) -> None:
    build(tmp_path, {"a": "1"})
    swap_directory(str(tmp_path), BEFORE)
    assert content(tmp_path) == {"a": "1"}
    assert os.listdir(tmp_path) == ["a"]


def test_what_former_restores_keep_stays(tmp_path: Path) -> None:
    place = volume(tmp_path / "volume", {"a": "1"}, {"a": "2"})
    build(place, {restore.BEFORE + "earlier/a": "0"})
    swap_directory(str(place), BEFORE)
    assert content(place / (restore.BEFORE + "earlier")) == {"a": "0"}
    assert content(place / BEFORE) == {"a": "1"}


def test_the_journal_is_read_back(tmp_path: Path) -> None:
    assert pending(str(tmp_path)) is None
    journal = Journal("id", "local", ["database"], "tamma_restoring", "tamma_before_x", "x", restore.FORWARD)
    (tmp_path / JOURNAL).parent.mkdir()
    (tmp_path / JOURNAL).write_text(json.dumps(journal._asdict()), encoding="utf-8")
    assert pending(str(tmp_path)) == journal


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x"}', '{"of": "another version"}'])
def test_a_journal_that_says_nothing_is_not_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / JOURNAL).parent.mkdir()
    (tmp_path / JOURNAL).write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError, match="does not tell how far the last restore came"):
        pending(str(tmp_path))
