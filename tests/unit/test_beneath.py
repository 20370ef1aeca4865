# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links that a container's user has planted: beforehand, and while root is at work beside them."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import beneath, database, kept, volumes
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

NOBODY = 65534
BEFORE = volumes.BEFORE + "20260101t000000z"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led astray, and make files of another user")


class Place:
    """A volume, whose content belongs to a container's user, and a directory of the host that is none of his."""

    def __init__(self, root: Path) -> None:
        self.above = root / "volume"
        self.data = self.above / "_data"
        self.victim = root / "etc"
        self.data.mkdir(parents=True)
        os.chmod(self.above, 0o701)
        os.chown(self.data, NOBODY, NOBODY)
        self.victim.mkdir()
        (self.victim / "shadow").write_text("root's", encoding="utf-8")

    def plant(self, *names: str) -> None:
        """Put links to the victim into the volume, as its user."""
        for name in names:
            (self.data / name).symlink_to(self.victim)
            os.chown(self.data / name, NOBODY, NOBODY, follow_symlinks=False)

    def unharmed(self) -> None:
        assert {item.name: item.read_text(encoding="utf-8") for item in self.victim.iterdir()} == {"shadow": "root's"}
        status = (self.victim / "shadow").stat()
        assert (status.st_uid, stat.S_IMODE(self.victim.stat().st_mode)) == (0, 0o755)

    def stolen(self) -> list[str]:
        """The files of the volume's user that are the victim's."""
        return [str(item) for item in self.above.rglob("*") if item.is_file() and item.name == "shadow"]

    @contextlib.contextmanager
    def entered(self) -> Iterator[volumes.Volume]:
        with volumes.entered(str(self.data), "tamma") as volume:
            yield volume


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    # Not in tmp_path, into which another user cannot look.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        os.chmod(root, 0o711)
        monkeypatch.setattr(volumes, "_ELSEWHERE", os.path.join(root, "lib"))
        yield Place(Path(root))


@contextlib.contextmanager
def at_open(name: str, attack: Callable[[], None]) -> Iterator[None]:
    """The seam between a look at something and its use: right before it is opened somebody does something."""
    original, done = os.open, []

    def seam(path: Any, *arguments: Any, **named: Any) -> int:
        if os.path.basename(str(path)) == name and not done:
            done.append(path)
            attack()
        return original(path, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", seam)
        yield
    assert done


def exchanged(path: Path, target: Path) -> Callable[[], None]:
    """What puts a link in the place of a directory."""

    def attack() -> None:
        path.rename(path.with_name("aside"))
        path.symlink_to(target)

    return attack


def as_nobody(work: Callable[[], None]) -> int:
    """Do something as the container's user; return 0, or the number of the error."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
            status = 0
        except OSError as exc:
            status = exc.errno or 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- restores of volumes ---------------------------------------------------------------------------


@pytest.mark.parametrize("private", [True, False])
def test_a_restore_is_led_nowhere_by_links_that_were_there_before(
    place: Place, private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not private:
        monkeypatch.setattr(beneath, "same_mount", lambda *_: False)
    place.plant(volumes.COMING, volumes.ARRIVING, "storage")
    (place.data / "old").write_text("1", encoding="utf-8")
    with place.entered() as volume:
        # As the first restore by this version does, and as one that a former version has begun is completed.
        volumes.take_over(volume, BEFORE)
        with volumes.coming(volume) as coming:
            (Path(coming) / "new").write_text("2", encoding="utf-8")
        volumes.swap(volume, BEFORE)
        assert (place.data / "new").read_text(encoding="utf-8") == "2"
        assert not (place.data / "storage").exists()
        volumes.swap_back(volume, BEFORE)
    assert (place.data / "old").read_text(encoding="utf-8") == "1"
    assert (place.data / "storage").is_symlink()
    place.unharmed()
    assert place.stolen() == []


def test_a_former_content_that_has_to_stay_inside_is_no_link(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beneath, "same_mount", lambda *_: False)
    place.plant(BEFORE)
    (place.data / "old").write_text("1", encoding="utf-8")
    with place.entered() as volume:
        with volumes.coming(volume):
            pass
        with pytest.raises(OperatorError, match=r"is in the way in .*, and nothing of ours"):
            volumes.swap(volume, BEFORE)
        volumes.swap_back(volume, BEFORE)
    place.unharmed()
    assert (place.data / "old").exists()


def test_nobody_gets_at_what_is_prepared(place: Place) -> None:
    with place.entered() as volume, volumes.coming(volume) as coming:
        for work in (
            lambda: os.rename(coming, place.data / "mine"),
            lambda: os.symlink("/etc", os.path.join(coming, "link")),
            lambda: cast(None, os.listdir(coming)),
        ):
            assert as_nobody(cast(Any, work)) != 0
        assert as_nobody(lambda: os.mkdir(place.data / "own")) == 0


def test_where_others_may_write_above_a_volume_nothing_is_prepared(place: Place) -> None:
    root = place.above.parent
    assert beneath.is_private(str(place.above))
    os.chmod(place.above, 0o777)
    with place.entered() as volume:
        assert volume.place.startswith(str(root / "lib"))
        assert volume.kept == volume.data
    os.chmod(place.above, 0o755)
    os.chown(root, NOBODY, -1)
    assert not beneath.is_private(str(place.above))
    os.chown(root, 0, -1)
    link = root / "link"
    link.symlink_to(place.above)
    assert beneath.is_private(str(link))


# --- backups of volumes ----------------------------------------------------------------------------


def test_a_backup_reads_nothing_that_a_link_leads_to(place: Place) -> None:
    (place.data / "sub").mkdir()
    (place.data / "sub" / "file").write_text("own", encoding="utf-8")
    place.plant("link")
    with place.entered() as volume:
        with at_open("sub", exchanged(place.data / "sub", place.victim)), volumes.as_it_is(volume) as mirrored:
            assert not list(Path(mirrored).rglob("shadow"))
        # The reader goes by paths in it, and what happens in the volume meanwhile does not reach it.
        (place.data / "sub").unlink()
        (place.data / "aside").rename(place.data / "sub")
        with volumes.as_it_is(volume) as mirrored:
            exchanged(place.data / "sub", place.victim)()
            assert sorted(item.name for item in Path(mirrored).rglob("*")) == ["file", "link", "sub"]
            assert (Path(mirrored) / "link").is_symlink()
            assert (Path(mirrored) / "sub" / "file").read_text(encoding="utf-8") == "own"
            assert Path(mirrored).stat().st_uid == NOBODY
            assert as_nobody(lambda: cast(None, os.listdir(mirrored))) != 0
    assert os.listdir(place.above) == ["_data"]
    place.unharmed()


def test_nothing_to_back_up(place: Place) -> None:
    (place.data / (volumes.BEFORE + "of-a-former-version")).mkdir()
    with place.entered() as volume, volumes.as_it_is(volume) as mirrored:
        assert mirrored == ""


# --- the server's own volume -----------------------------------------------------------------------


@pytest.fixture
def stack(place: Place, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(database, "volume", lambda _stack: str(place.data))
    monkeypatch.setattr(database, "_SCRATCH", str(place.victim.parent / "run"))
    return SimpleNamespace(name="tamma")


def test_an_archive_goes_into_the_file_that_was_made_for_it(place: Place, stack: Any) -> None:
    place.plant("tamma-restore", "tamma-restore-0")
    with database.kept_archive(stack, "shadow") as (path, file):
        assert path != "tamma-restore/shadow"
        assert (place.data / path).stat().st_uid == 0
        exchanged((place.data / path).parent, place.victim)()
        done = Runner().pipeline([["echo", "stolen"], ["tee", beneath.path(file)]], handed=[file])
        assert [one.rc for one in done] == [0, 0]
    place.unharmed()
    database.remove_archives(stack)
    place.unharmed()
    assert sorted(os.listdir(place.data)) == ["aside"]


def test_what_a_killed_restore_has_left_goes_whosoever_it_became(place: Place, stack: Any) -> None:
    """The image's start gives everything in the volume to its user."""
    for name in ("tamma-restore", "tamma-restore-0123456789abcdef"):
        (place.data / name).mkdir()
        (place.data / name / "database.dump").write_text("x", encoding="utf-8")
        os.chown(place.data / name, NOBODY, NOBODY)
    (place.data / "base").mkdir()
    database.remove_archives(stack)
    assert os.listdir(place.data) == ["base"]


def test_pipes_are_made_where_nothing_can_wait_for_them(place: Place, stack: Any) -> None:
    place.plant("tamma-pipe", "tamma-script")
    with database._named_pipes(stack, str(place.data)) as pipe:
        status = os.lstat(pipe)
        assert stat.S_ISFIFO(status.st_mode)
        assert status.st_uid == NOBODY
        assert os.path.basename(pipe) != "tamma-pipe"
    assert not os.path.lexists(pipe)
    place.unharmed()


def test_a_link_in_the_place_of_a_pipe_gives_nothing_away(place: Place, stack: Any) -> None:
    original = os.mkfifo

    def made_and_exchanged(name: str, *arguments: Any, **named: Any) -> None:
        original(name, *arguments, **named)
        os.unlink(name, dir_fd=named["dir_fd"])
        os.symlink(place.victim / "shadow", name, dir_fd=named["dir_fd"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "mkfifo", made_and_exchanged)
        with database._named_pipes(stack, str(place.data)) as pipe:
            assert pipe == ""
    place.unharmed()


# --- removal ---------------------------------------------------------------------------------------


def test_a_removal_stays_where_it_is(place: Place) -> None:
    tree = place.data / BEFORE
    (tree / "sub" / "deeper").mkdir(parents=True)
    (tree / "sub" / "file").write_text("x", encoding="utf-8")
    place.plant("link")
    (tree / "link").symlink_to(place.victim)
    with at_open("sub", exchanged(tree / "sub", place.victim)):
        beneath.remove_tree(str(tree))
    assert not tree.exists()
    beneath.remove_tree(str(place.data / "link"))
    assert not os.path.lexists(place.data / "link")
    place.unharmed()


def test_a_deep_tree_goes_with_few_descriptors(place: Place) -> None:
    here = os.open(place.data, os.O_RDONLY)
    for _level in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    beneath.remove_tree(str(place.data / "d"))
    assert os.listdir(place.data) == []


def test_a_deep_tree_is_no_volume_of_ours(place: Place) -> None:
    (place.data / "/".join("d" * 300)).mkdir(parents=True)
    too_deep = pytest.raises(OperatorError, match="nested more than 200 deep")
    with place.entered() as volume, too_deep, volumes.as_it_is(volume):
        pass
    assert os.listdir(place.above) == ["_data"]


def test_only_what_is_kept_is_discarded_and_its_size_is_its_own(place: Place) -> None:
    (place.above / BEFORE).mkdir()
    (place.above / BEFORE / "link").symlink_to("/usr")
    place.plant(BEFORE)
    found = kept.directories([str(place.data)])
    assert [(item.name, item.bytes) for item in found] == [(str(place.above / BEFORE), 0)]


# --- between file systems --------------------------------------------------------------------------


def test_between_two_file_systems_everything_is_copied(place: Place) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == place.data.stat().st_dev:
            pytest.skip("there is one file system alone")
        source = Path(other) / "tree"
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "file").write_text("x", encoding="utf-8")
        os.chown(source / "sub" / "file", NOBODY, NOBODY)
        os.chmod(source / "sub" / "file", 0o640)
        os.utime(source / "sub" / "file", (1, 2))
        (source / "link").symlink_to("sub/file")
        os.mkfifo(source / "pipe")
        # What a copy that was cut off has left.
        (place.data / "tree" / "half").mkdir(parents=True)
        with beneath.opened(other) as have, beneath.opened(str(place.data)) as target:
            assert have is not None
            assert target is not None
            beneath.move("tree", have, target)
        copied = place.data / "tree"
        status = (copied / "sub" / "file").stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode), status.st_mtime) == (NOBODY, 0o640, 2)
        assert os.readlink(copied / "link") == "sub/file"
        assert not (copied / "half").exists()
        assert not source.exists()
