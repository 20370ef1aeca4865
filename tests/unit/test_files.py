# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on a real disk: compared, written whole or not at all, and removed without a trace."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError, of_the_system
from ansible_collections.meywd.tamma.plugins.module_utils.files import (
    File,
    FileChange,
    changed_keys,
    compare,
    fingerprint,
    read,
    record,
    recorded,
    remove,
    replace,
    write,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def names_below(path: Path) -> list[str]:
    return sorted(str(item.relative_to(path)) for item in path.rglob("*"))


def test_a_new_file_shows_all_its_lines(tmp_path: Path) -> None:
    (change,) = compare(str(tmp_path), [File("a.yml", "one\ntwo\n")])
    assert change[:2] == ("a.yml", "create")
    assert "+one\n+two\n" in change.diff


def test_a_changed_file_shows_what_differs(tmp_path: Path) -> None:
    write(str(tmp_path), [File("a.yml", "one\ntwo\n")])
    (change,) = compare(str(tmp_path), [File("a.yml", "one\nthree\n")])
    assert change[:2] == ("a.yml", "update")
    assert "-two\n+three\n" in change.diff
    assert "before: a.yml" in change.diff
    assert str(tmp_path) not in change.diff


def test_a_diff_ends_its_lines_though_the_file_does_not(tmp_path: Path) -> None:
    write(str(tmp_path), [File("a", "old")])
    assert compare(str(tmp_path), [File("a", "new")])[0].diff.endswith("-old\n+new\n")


@pytest.mark.parametrize("before", [None, "PASSWORD=former-value\n"])
def test_a_secret_files_content_is_never_shown(tmp_path: Path, before: str | None) -> None:
    if before is not None:
        write(str(tmp_path), [File(".env", before, 0o600, secret=True)])
    (change,) = compare(str(tmp_path), [File(".env", "PASSWORD=hunter-two\n", 0o600, secret=True)])
    assert change.diff
    assert "hunter" not in change.diff
    assert "former" not in change.diff


def test_a_file_with_other_permissions_is_changed(tmp_path: Path) -> None:
    wanted = File(".env", "A=1\n", 0o600)
    write(str(tmp_path), [wanted])
    (tmp_path / ".env").chmod(0o644)
    assert compare(str(tmp_path), [wanted]) == [FileChange(".env", "mode", "mode becomes 0600\n")]
    write(str(tmp_path), [wanted])
    assert compare(str(tmp_path), [wanted]) == []


@as_root
def test_a_files_owner_is_kept_up(tmp_path: Path) -> None:
    wanted = File("engine/tamma.config.json", "{}\n", 0o600, owner=1001)
    write(str(tmp_path), [wanted])
    assert (tmp_path / wanted.path).stat().st_uid == 1001
    assert compare(str(tmp_path), [wanted]) == []
    os.chown(tmp_path / wanted.path, 0, -1)
    assert [change.action for change in compare(str(tmp_path), [wanted])] == ["mode"]


@given(texts)
@example("windows\r\nlines\r\n")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_what_was_written_needs_no_change(tmp_path: Path, content: str) -> None:
    wanted = File("file", content)
    write(str(tmp_path), [wanted])
    assert compare(str(tmp_path), [wanted]) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_permissions_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        write(str(tmp_path), [File("public/deep/a", "", 0o644), File("private/b", "", 0o600)])
    finally:
        os.umask(former)
    assert [mode(tmp_path / name) for name in ("public", "public/deep", "public/deep/a")] == [0o755, 0o755, 0o644]
    assert [mode(tmp_path / name) for name in ("private", "private/b")] == [0o700, 0o600]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    contents = {letter * 300_000 for letter in "ab"}
    replace(str(path), min(contents), 0o644)
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(20):
        for content in sorted(contents):
            replace(str(path), content, 0o644)
    ended.set()
    reader.join()
    assert seen == contents


def test_a_failed_write_leaves_the_former_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "config"
    replace(str(path), "former", 0o640)
    with pytest.raises(UnicodeEncodeError):
        replace(str(path), "cannot be encoded: \ud800", 0o600)
    assert names_below(tmp_path) == ["config"]
    assert path.read_text() == "former"
    assert mode(path) == 0o640


def test_a_missing_file_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read(str(tmp_path / "file")) == ""
    assert read(str(tmp_path / "missing")) is None
    assert read(str(tmp_path / "file" / "below")) is None


def test_a_file_of_other_bytes_can_be_compared(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe latin: \xe9\n")
    assert [change.action for change in compare(str(tmp_path), [File("a", "text\n")])] == ["update"]


def test_a_directory_in_a_files_place_is_named(tmp_path: Path) -> None:
    """Engines make one when a mounted file is missing."""
    (tmp_path / "tamma.config.json").mkdir()
    with pytest.raises(OperatorError, match=r"tamma\.config\.json"):
        compare(str(tmp_path), [File("tamma.config.json", "{}")])


def test_a_file_that_is_no_longer_wanted_goes(tmp_path: Path) -> None:
    write(str(tmp_path), [File("kept", ""), File("old", "")])
    changes = compare(str(tmp_path), [File("kept", "")], formerly=["kept", "old", "gone-already"])
    assert changes == [FileChange("old", "remove", "")]


def test_removal_takes_empty_directories_along_and_no_others(tmp_path: Path) -> None:
    write(str(tmp_path), [File("a/b/c/file", ""), File("d/file", ""), File("d/users-own", "")])
    remove(str(tmp_path), ["a/b/c/file", "d/file", "never/was"])
    assert names_below(tmp_path) == ["d", "d/users-own"]


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_removal_ends_at_the_stacks_directory(tmp_path: Path, slash: str) -> None:
    stack = tmp_path / "srv" / "tamma"
    stack.mkdir(parents=True)
    write(str(stack), [File("a/file", "")])
    remove(str(stack) + slash, ["a/file"])
    assert names_below(tmp_path) == ["srv", "srv/tamma"]


def test_removal_never_reaches_outside(tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    stack.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("")
    with contextlib.suppress(OperatorError):
        remove(str(stack), ["../outside", str(outside)])
    assert outside.exists()


def test_a_record_of_what_was_written(tmp_path: Path) -> None:
    assert recorded(str(tmp_path)) == []
    record(str(tmp_path), ["b", "a"])
    assert recorded(str(tmp_path)) == ["a", "b"]
    assert mode(tmp_path / ".tamma" / "files.json") == 0o600


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    write(str(tmp_path), [File(".tamma/files.json", '["a", ')])
    assert recorded(str(tmp_path)) == []


files = st.dictionaries(texts, texts, max_size=4)


@given(files)
def test_a_fingerprint_does_not_depend_on_order(contents: dict[str, str]) -> None:
    listed = [File(path, content) for path, content in contents.items()]
    assert fingerprint(listed) == fingerprint(reversed(listed))


@given(files, files)
@example({"a": "x\0b\0y"}, {"a": "x", "b": "y"})
@example({"ab": "c"}, {"a": "bc"})
@example({}, {"": ""})
def test_other_files_have_another_fingerprint(one: dict[str, str], other: dict[str, str]) -> None:
    assume(one != other)
    prints = [fingerprint(File(path, text) for path, text in contents.items()) for contents in (one, other)]
    assert prints[0] != prints[1]


def test_settings_are_compared_by_name() -> None:
    before = {"SAME": "1", "CHANGED": "1", "REMOVED": "1"}
    after = {"SAME": "1", "CHANGED": "2", "ADDED": "1"}
    assert changed_keys(before, after) == {"added": ["ADDED"], "changed": ["CHANGED"], "removed": ["REMOVED"]}


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = str(tmp_path / "journal.json")
    with pytest.raises(OSError, match="No space left") as left:
        replace(path, "{}", 0o600)
    assert of_the_system(left.value) == f"{path}: No space left on device."
    assert list(tmp_path.iterdir()) == []
