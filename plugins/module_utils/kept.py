# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restores keep: former databases and files of volumes, until somebody removes them."""

from __future__ import annotations

import os
import re
import shutil
from typing import Callable, List, NamedTuple, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils import backup, database, restore
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

Progress = Callable[[str, str], None]


_FORMER = re.compile(database.BEFORE + r"\d{8}t\d{6}z\Z")


class Kept(NamedTuple):
    """One of them. kind: "database" or "directory". name: of the database, or the directory's path on the host."""

    kind: str
    name: str
    bytes: int


def find(stack: Stack) -> List[Kept]:
    """Everything that former restores of a stack have left."""
    return [*_databases(stack), *directories(list(backup.volumes(stack).values()))]


def _databases(stack: Stack) -> List[Kept]:
    server = Database(stack)
    rows = server.query("SELECT datname, pg_database_size(datname) FROM pg_database ORDER BY 1")
    return [Kept("database", name, int(size or 0)) for name, size in rows if name and is_former(name, server.called)]


def is_former(name: str, called: Callable[[str], str]) -> bool:
    """Whether a database is a former one of a stack; *called* makes the names of databases beside the stack's own."""
    mark = _FORMER.search(name)
    return mark is not None and called(mark.group()) == name


def directories(volumes: Sequence[str]) -> List[Kept]:
    """What was in volumes before a restore; *volumes*: where the host sees them."""
    return [
        Kept("directory", entry.path, _size(entry.path))
        for volume in sorted(volumes)
        for entry in sorted(os.scandir(volume), key=lambda item: item.name)
        if entry.name.startswith(restore.BEFORE) and entry.is_dir(follow_symlinks=False)
    ]


def _size(directory: str) -> int:
    return sum(
        os.lstat(os.path.join(place, name)).st_blocks * 512
        for place, _below, names in os.walk(directory)
        for name in names
    )


def choose(found: Sequence[Kept], names: Sequence[str]) -> List[Kept]:
    """Those of *names*, or all without any. Raises OperatorError for a name that is not among them."""
    known = {item.name for item in found}
    for name in names:
        if name not in known:
            raise OperatorError(
                "No restore has left anything that is called %s: 'tammactl backups' lists what is kept." % name
            )
    return [item for item in found if not names or item.name in names]


def remove(stack: Stack, names: Sequence[str], progress: Progress) -> List[Kept]:
    """Remove those of *names*, or all without any; return what went."""
    gone = choose(find(stack), names)
    server = Database(stack)
    for item in gone:
        progress("discard", "%s %s, %s" % (item.kind, item.name, backup.human(item.bytes)))
        if item.kind == "database":
            server.drop(item.name)
        else:
            shutil.rmtree(item.name)
    return gone
