# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work of root in directories that a container's user can write to: by descriptors, never by a path that leads on.

Whoever writes to a directory can put a link there, or put one in the place of a directory while it is looked at. So a
directory is opened once, by its own name and no link, and everything else is done relative to what is open then. What
is ours is known by its owner: nobody but root makes a directory of root's. What others must not see while it is made
lies in a directory that root alone can change.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from typing import Iterator, List, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# How deep a tree may be; each level takes two descriptors of the 1,024 that a process has.
_DEEPEST = 200
# A directory is emptied level by level, and somebody may put something into it meanwhile.
_ROUNDS = 10000


def path(descriptor: int) -> str:
    """A path for what is open, for this process and for those that it begins and hands the descriptor on to."""
    return "/proc/self/fd/%d" % descriptor


class Opened:
    """See :func:`opened`. It is no generator, so that one can be left at any moment while it has this open."""

    def __init__(self, directory: str, parent: Optional[int]) -> None:
        self._directory = directory
        self._parent = parent
        self._descriptor: Optional[int] = None

    def __enter__(self) -> Optional[int]:
        try:
            self._descriptor = os.open(self._directory, _DIRECTORY, dir_fd=self._parent)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
                raise
        return self._descriptor

    def __exit__(self, *_failure: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def opened(directory: str, parent: Optional[int] = None) -> Opened:
    """A directory itself, never one that a link leads to; None when there is none. parent: an open one it is in."""
    return Opened(directory, parent)


@contextlib.contextmanager
def ours(name: str, parent: int) -> Iterator[Optional[int]]:
    """The same for a directory that we have made: one that is anybody else's is none."""
    with opened(name, parent) as found:
        yield found if found is not None and os.fstat(found).st_uid == os.geteuid() else None


def is_ours(name: str, parent: int) -> bool:
    """Whether there is such a directory."""
    with ours(name, parent) as found:
        return found is not None


@contextlib.contextmanager
def made(name: str, parent: int) -> Iterator[int]:
    """A directory that is made for this, or that an earlier run has made; its owner alone can enter it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    with ours(name, parent) as found:
        if found is None:
            raise OperatorError(
                "%s is in the way in %s, and nothing of ours: look who has put it there, and move it away."
                % (name, os.readlink(path(parent)))
            )
        yield found


def new_file(name: str, parent: int) -> int:
    """Make a file that is not there yet, for its owner alone, and open it for writing."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)


def beginning(name: str, parent: int, most: int) -> bytes:
    """The first bytes of a file in an open directory; nothing of a link, of a pipe or device, or of none."""
    try:
        # Not blocking: it may be a pipe.
        opened_now = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return b""
    try:
        return os.read(opened_now, most) if stat.S_ISREG(os.fstat(opened_now).st_mode) else b""
    finally:
        os.close(opened_now)


def names(directory: int) -> List[str]:
    """What is in an open directory."""
    return sorted(os.listdir(directory))


def random_name(prefix: str) -> str:
    """A name that nobody can have taken before."""
    return prefix + secrets.token_hex(8)


def is_private(directory: str) -> bool:
    """Whether nobody but root can put anything else in the place of a directory, or into it.

    Everything above it is looked at as well; in a directory for everybody (``/tmp``) root's own cannot be moved.
    """
    place = os.open("/", _DIRECTORY)
    try:
        for name in [part for part in os.path.realpath(directory).split("/") if part]:
            if not _is_trusted(os.fstat(place)):
                return False
            with opened(name, place) as found:
                if found is None:
                    return False
                os.close(place)
                place = os.dup(found)
        status = os.fstat(place)
        return _is_trusted(status) and not status.st_mode & _OTHERS_WRITE
    finally:
        os.close(place)


def _is_trusted(status: os.stat_result) -> bool:
    shared = status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX
    return status.st_uid in (0, os.geteuid()) and not shared


def same_mount(one: int, other: int) -> bool:
    """Whether a file can be moved from one open directory into another."""
    return _mount(one) == _mount(other)


def _mount(descriptor: int) -> str:
    with open("/proc/self/fdinfo/%d" % descriptor, encoding="ascii") as lines:
        return next((line.split()[1] for line in lines if line.startswith("mnt_id:")), "")


def remove(name: str, parent: int) -> None:
    """Remove whatever is called so in an open directory, and nothing that a link leads to; it may be gone already."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except OSError as exc:
        if exc.errno != errno.EISDIR:
            raise
    with opened(name, parent) as found:
        if found is not None:
            empty(found)
    _remove_directory(name, parent)


def _remove_directory(name: str, parent: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def empty(directory: int) -> None:
    """Remove everything in an open directory, however deep it is.

    What is in a directory of it moves up first, so that no more than three are open at a time.
    """
    for _round in range(_ROUNDS):
        left = os.listdir(directory)
        if not left:
            return
        for name in left:
            with contextlib.suppress(FileNotFoundError):
                _remove_one(name, directory)
    if os.listdir(directory):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))


def _remove_one(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except OSError as exc:
        if exc.errno != errno.EISDIR:
            raise
    with opened(name, directory) as below:
        for child in os.listdir(below) if below is not None else ():
            try:
                os.unlink(child, dir_fd=below)
            except FileNotFoundError:
                continue
            except OSError as exc:
                if exc.errno != errno.EISDIR:
                    raise
                os.rename(child, random_name(".tamma-gone-"), src_dir_fd=below, dst_dir_fd=directory)
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as exc:
        # Somebody has put something there meanwhile: once more.
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise


def remove_tree(full: str) -> None:
    """Remove a directory by its path, whose parent is opened by its own name."""
    place, name = os.path.split(full)
    with opened(place) as parent:
        if parent is not None:
            remove(name, parent)


def size(name: str, parent: int) -> int:
    """Bytes that a directory in an open one takes."""
    return sum(
        os.stat(item, dir_fd=place, follow_symlinks=False).st_blocks * 512
        for _path, _below, files, place in os.fwalk(name, dir_fd=parent)
        for item in files
    )


def move(name: str, source: int, target: int) -> None:
    """Move something from an open directory into another, in the place of what is called so there.

    Between two file systems it is copied, and removed when the copy is whole; what a copy that was cut off has left is
    in nobody's way.
    """
    try:
        _rename(name, source, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        remove(name, target)
        _copy(name, source, target, link=False, depth=0)
        remove(name, source)


def _rename(name: str, source: int, target: int) -> None:
    try:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
            raise
        remove(name, target)
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)


def mirror(source: int, target: int, leave_out: str = "") -> None:
    """Give an open, empty directory what another one has, without its data being copied where that can be.

    The files are the same ones under another name, the directories are not: whoever moves those of the source meanwhile
    changes nothing in the mirror. What cannot be linked is copied. leave_out: how the names begin that stay out.
    """
    for name in names(source):
        if not (leave_out and name.startswith(leave_out)):
            # What is gone meanwhile is what a reader would not have found either.
            with contextlib.suppress(FileNotFoundError):
                _copy(name, source, target, link=True, depth=0)
    _carry_over(source, target)


def _copy(name: str, source: int, target: int, link: bool, depth: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        _copy_directory(name, source, target, link, depth)
        return
    if link:
        with contextlib.suppress(OSError):
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(name, source, target)


def _copy_directory(name: str, source: int, target: int, link: bool, depth: int) -> None:
    if depth >= _DEEPEST:
        raise OperatorError(
            "A volume has directories that are nested more than %d deep (%s): nothing of ours is, so look what has "
            "made them." % (_DEEPEST, name)
        )
    with opened(name, source) as below:
        if below is None:
            return
        os.mkdir(name, 0o700, dir_fd=target)
        with opened(name, target) as copied:
            if copied is None:
                return
            for child in names(below):
                with contextlib.suppress(FileNotFoundError):
                    _copy(child, below, copied, link, depth + 1)
            _carry_over(below, copied)


def _copy_file(name: str, source: int, target: int) -> None:
    # Not blocking: it may have become a pipe meanwhile.
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source), "rb") as have:
        if stat.S_ISREG(os.fstat(have.fileno()).st_mode):
            with open(new_file(name, target), "wb") as made_now:
                shutil.copyfileobj(have, made_now, 1 << 20)
                made_now.flush()
                _carry_over(have.fileno(), made_now.fileno())


def _carry_over(source: int, target: int) -> None:
    """Give one open file or directory the owner, the attributes, the mode and the time of another."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    for attribute in _attributes(source):
        # A file system may not have such attributes, or not this one.
        with contextlib.suppress(OSError):
            os.setxattr(target, attribute, os.getxattr(source, attribute))
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _attributes(descriptor: int) -> List[str]:
    with contextlib.suppress(OSError):
        return os.listxattr(descriptor)
    return []
