# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swap of a volume, cut off at every one of its effects and begun again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils import backup, beneath, restore, signing, volumes
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.restore import (
    JOURNAL,
    Journal,
    pending,
)

BEFORE = volumes.BEFORE + "20260101t000000z"
EFFECTS = ("rename", "rmdir", "mkdir", "unlink", "link", "symlink")

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


def volume(place: Path, old: Tree, new: Tree, inside: bool = False) -> Path:
    """A volume with the files *old*, and the files *new* fetched for it: beside it, or as a former version had them."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "_data").mkdir(parents=True)
    build(place / "_data", old)
    coming = (place / "_data" if inside else place) / volumes.COMING
    coming.mkdir()
    build(coming, new)
    return place


@pytest.fixture(params=["beside", "elsewhere"], autouse=True, scope="module")
def where(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where things are prepared: beside a volume's content, or on another file system."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "elsewhere":
            patch.setattr(beneath, "same_mount", lambda *_: False)
        patch.setattr(volumes, "_ELSEWHERE", str(tmp_path_factory.mktemp("elsewhere")))
        yield str(request.param)


def moved_over(place: Path, where: str) -> None:
    """Put what was fetched where it is prepared."""
    if where == "elsewhere":
        with volumes.entered(str(place / "_data"), "tamma") as opened:
            os.rename(place / volumes.COMING, os.path.join(opened.place, volumes.COMING))


def swap(place: Path) -> None:
    with volumes.entered(str(place / "_data"), "tamma") as opened:
        volumes.swap(opened, BEFORE)


def swap_back(place: Path) -> None:
    with volumes.entered(str(place / "_data"), "tamma") as opened:
        volumes.swap_back(opened, BEFORE)


def take_over(place: Path) -> None:
    with volumes.entered(str(place / "_data"), "tamma") as opened:
        volumes.take_over(opened, BEFORE)
        volumes.swap(opened, BEFORE)


def interrupted(number: int, after: bool, place: Path, work: Callable[[Path], None] = swap) -> int:
    """Do some work, killed at the effect with that number; return how many effects there were."""
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
            work(place)
    return count


def assert_swapped(place: Path, old: Tree, new: Tree) -> None:
    found = content(place / "_data")
    assert {name: text for name, text in found.items() if not name.startswith(".tamma-")} == new
    kept = place / BEFORE if (place / BEFORE).exists() else place / "_data" / BEFORE
    assert content(kept) == old
    for directory in (place, place / "_data", Path(volumes._ELSEWHERE)):
        assert not list(directory.rglob(volumes.COMING))
        assert not list(directory.rglob(volumes.ARRIVING))


@given(trees, trees)
def test_what_was_there_is_kept_and_what_was_fetched_is_there(
    tmp_path_factory: pytest.TempPathFactory, where: str, old: Tree, new: Tree
) -> None:
    place = volume(tmp_path_factory.mktemp("swap") / "volume", old, new)
    moved_over(place, where)
    swap(place)
    assert_swapped(place, old, new)
    # Again, as after a kill right behind the last effect.
    swap(place)
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
@pytest.mark.parametrize("formerly", [False, True])
def test_killed_at_any_effect_the_next_run_completes_it(
    tmp_path: Path, where: str, old: Tree, new: Tree, after: bool, formerly: bool
) -> None:
    """Also what a former version has begun, which had it inside of the volume."""
    number = 0
    work = take_over if formerly else swap
    while True:
        number += 1
        place = volume(tmp_path / "volume", old, new, formerly)
        if not formerly:
            moved_over(place, where)
        effects = interrupted(number, after, place, work)
        if where == "beside":
            # Nothing is lost meanwhile either.
            assert sorted(content(place).values()) == sorted([*old.values(), *new.values()])
        work(place)
        assert_swapped(place, old, new)
        if effects < number:
            break
    assert number > len(old) + len(new) - 2


@given(trees, trees, st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_killed_twice(
    tmp_path_factory: pytest.TempPathFactory, where: str, old: Tree, new: Tree, first: int, second: int, after: bool
) -> None:
    place = volume(tmp_path_factory.mktemp("swap") / "volume", old, new)
    moved_over(place, where)
    interrupted(first, after, place)
    interrupted(second, not after, place)
    swap(place)
    assert_swapped(place, old, new)


@given(trees, trees, st.integers(1, 12), st.booleans(), st.integers(1, 12), st.booleans())
def test_the_way_back_leads_from_everywhere(
    tmp_path_factory: pytest.TempPathFactory,
    where: str,
    old: Tree,
    new: Tree,
    forward: int,
    after: bool,
    back: int,
    back_after: bool,
) -> None:
    place = volume(tmp_path_factory.mktemp("back") / "volume", old, new)
    moved_over(place, where)
    interrupted(forward, after, place)
    interrupted(back, back_after, place, swap_back)
    swap_back(place)
    assert content(place) == {"_data/" + name: text for name, text in old.items()}
    assert not list(place.rglob(".tamma-*"))


def test_a_swap_that_a_former_version_was_half_through_is_completed(tmp_path: Path) -> None:
    place = volume(tmp_path / "volume", {"b": "1"}, {}, inside=True)
    (place / "_data" / volumes.COMING).rmdir()
    build(place / "_data", {volumes.ARRIVING + "/c": "2", BEFORE + "/a": "1"})
    (place / "_data" / "b").rename(place / "_data" / BEFORE / "b")
    take_over(place)
    assert_swapped(place, {"a": "1", "b": "1"}, {"c": "2"})


def test_a_volume_for_which_nothing_was_fetched_is_left_alone(tmp_path: Path) -> None:
    build(tmp_path / "_data", {"a": "1"})
    swap(tmp_path)
    assert content(tmp_path) == {"_data/a": "1"}
    assert os.listdir(tmp_path / "_data") == ["a"]


def test_what_former_restores_keep_stays(tmp_path: Path, where: str) -> None:
    place = volume(tmp_path / "volume", {"a": "1"}, {"a": "2"})
    moved_over(place, where)
    build(place, {volumes.BEFORE + "earlier/a": "0"})
    build(place / "_data", {volumes.BEFORE + "before/a": "0"})
    swap(place)
    assert content(place / (volumes.BEFORE + "earlier")) == {"a": "0"}
    assert content(place / "_data" / (volumes.BEFORE + "before")) == {"a": "0"}


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


@pytest.mark.parametrize(
    ("verdict", "known", "taken"),
    [
        (signing.UNSIGNED, "then", True),
        (signing.UNSIGNED, "the", False),
        (signing.UNSIGNED, "", False),
        (signing.FOREIGN, "then", False),
    ],
)
def test_an_unsigned_backup_is_taken_when_the_host_itself_names_it(
    monkeypatch: pytest.MonkeyPatch, verdict: str, known: str, taken: bool
) -> None:
    chosen = SimpleNamespace(id="then")
    monkeypatch.setattr(backup, "choose", lambda *_: chosen)
    monkeypatch.setattr(backup, "judged_manifest", lambda *_: ({"stack": "tamma"}, verdict))
    stack: Any = SimpleNamespace(name="tamma", writers=[])
    store: Any = None
    told: list[str] = []
    work = restore.Restoring(stack, lambda _phase, words: told.append(words), key="k", known_by_id=known)
    if taken:
        assert "is taken all the same" in work.plan(store, "then", ["files"]).doubt == told[0]
        return
    with pytest.raises(OperatorError, match="whoever knows the repository's password"):
        work.plan(store, "then", ["files"])
