# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes as backups and restores handle them: what lies in one is exchanged, while its container may be at work there.

What is prepared, and what was there before, lies beside the volume's content, where no container sees it: both engines
keep a volume in a directory of root's, and mount what is called ``_data`` in it. Where that cannot be (the content is
mounted from elsewhere, as of a driver with a device), it is prepared among our own files and copied, and what was there
before stays inside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Iterator, List, NamedTuple, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import beneath
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

#: How everything of ours begins.
OWN = ".tamma-"
COMING = OWN + "restoring"
ARRIVING = OWN + "arriving"
BEFORE = OWN + "before-"
STORING = OWN + "storing"

_ELSEWHERE = "/var/lib/tamma"


class Volume(NamedTuple):
    """One that is open. directory: its path on the host. data, beside, kept: descriptors; place: the path of beside.

    beside: the directory for what is prepared, which root alone can change. kept: the one for what was there before.
    """

    directory: str
    data: int
    beside: int
    place: str
    kept: int


@contextlib.contextmanager
def entered(directory: str, stack: str) -> Iterator[Volume]:
    """Open the volume of a stack whose content the host has in *directory*."""
    with beneath.opened(directory) as data:
        if data is None:
            raise OperatorError("The volume at %s is no directory: look what has become of it." % directory)
        parent = os.path.dirname(directory)
        with beneath.opened(parent) as above:
            if above is not None and beneath.same_mount(data, above) and beneath.is_private(parent):
                yield Volume(directory, data, above, parent, above)
                return
        with _elsewhere(directory, stack) as (place, found):
            yield Volume(directory, data, found, place, data)


@contextlib.contextmanager
def _elsewhere(directory: str, stack: str) -> Iterator[Tuple[str, int]]:
    """A directory among our own files for one volume; it goes when nothing is in it."""
    name = "volume-" + hashlib.sha256(directory.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    parent = os.path.join(_ELSEWHERE, stack)
    os.makedirs(parent, 0o700, exist_ok=True)
    with beneath.opened(parent) as above:
        if above is None:
            raise OperatorError("%s is no directory: move it away." % parent)
        with beneath.made(name, above) as found:
            try:
                yield os.path.join(parent, name), found
            finally:
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=above)


def take_over(volume: Volume, before: str) -> None:
    """Put what a former version has left inside of a volume where it belongs today: only what was root's there."""
    for name in (COMING, ARRIVING):
        if beneath.is_ours(name, volume.data) and not beneath.is_ours(name, volume.beside):
            beneath.move(name, volume.data, volume.beside)
    if volume.kept != volume.data and beneath.is_ours(before, volume.data):
        with beneath.opened(before, volume.kept) as there:
            present = there is not None
        if not present:
            beneath.move(before, volume.data, volume.kept)


@contextlib.contextmanager
def coming(volume: Volume) -> Iterator[str]:
    """An empty directory for what shall come into a volume, by its path."""
    for name in (COMING, ARRIVING):
        beneath.remove(name, volume.beside)
    with beneath.made(COMING, volume.beside):
        yield os.path.join(volume.place, COMING)


def swap(volume: Volume, before: str) -> None:
    """Put what was prepared for a volume in the place of its content, which is kept as *before*.

    May be cut off anywhere and called again: first everything old moves out, then everything new moves in.
    """
    if beneath.is_ours(COMING, volume.beside):
        with beneath.made(before, volume.kept) as old:
            for name in _content(volume):
                # What is gone meanwhile, its container has removed.
                with contextlib.suppress(FileNotFoundError):
                    beneath.move(name, volume.data, old)
        os.rename(COMING, ARRIVING, src_dir_fd=volume.beside, dst_dir_fd=volume.beside)
    with beneath.ours(ARRIVING, volume.beside) as new:
        if new is not None:
            for name in beneath.names(new):
                beneath.move(name, new, volume.data)
    if new is not None:
        os.rmdir(ARRIVING, dir_fd=volume.beside)


def swap_back(volume: Volume, before: str) -> None:
    """Put the content that is kept as *before* back into a volume, however far :func:`swap` came.

    May be cut off anywhere and called again. As long as there is something still to come, what lies in the volume is
    the former content.
    """
    with beneath.ours(before, volume.kept) as old:
        if old is not None:
            if not beneath.is_ours(COMING, volume.beside):
                for name in _content(volume):
                    beneath.remove(name, volume.data)
                beneath.remove(ARRIVING, volume.beside)
                with beneath.made(COMING, volume.beside):
                    pass
            for name in beneath.names(old):
                beneath.move(name, old, volume.data)
    if old is not None:
        os.rmdir(before, dir_fd=volume.kept)
    forget(volume)


def forget(volume: Volume) -> None:
    """Remove what was prepared for a volume."""
    beneath.remove(COMING, volume.beside)


def has(volume: Volume, before: str) -> bool:
    """Whether a volume's former content is kept as *before*."""
    return beneath.is_ours(before, volume.kept)


def _content(volume: Volume) -> List[str]:
    return [name for name in beneath.names(volume.data) if not name.startswith(OWN)]


@contextlib.contextmanager
def as_it_is(volume: Volume) -> Iterator[str]:
    """A directory with the content of a volume in which nobody can move anything: for whoever reads it by paths.

    The path is empty when there is no content. It is made of the same files, see :func:`beneath.mirror`.
    """
    beneath.remove(STORING, volume.beside)
    if not _content(volume):
        yield ""
        return
    try:
        with beneath.made(STORING, volume.beside) as around:
            # Its owner becomes that of the volume.
            with beneath.made("content", around) as mirrored:
                beneath.mirror(volume.data, mirrored, OWN)
            yield os.path.join(volume.place, STORING, "content")
    finally:
        beneath.remove(STORING, volume.beside)


def former(directory: str) -> List[str]:
    """The paths of what restores have kept of a volume: beside it, and where it had to stay inside."""
    found = []
    for place in (directory, os.path.dirname(directory)):
        with beneath.opened(place) as descriptor:
            if descriptor is not None:
                every = [name for name in beneath.names(descriptor) if name.startswith(BEFORE)]
                found += [os.path.join(place, name) for name in every if beneath.is_ours(name, descriptor)]
    return found
