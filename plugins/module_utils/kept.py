# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restores and releases keep: former databases and files of volumes, until somebody removes them."""

from __future__ import annotations

import os
import re
from typing import Callable, List, NamedTuple, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils import backup, beneath, database, room, volumes
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.history import History
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

Progress = Callable[[str, str], None]


# The group is the release that the database is from before.
_FORMER = re.compile(r"(?:%s\d{8}t\d{6}z|%s(\d+)|%s\d+)\Z" % (database.BEFORE, database.GUARD, database.FAILED))


class Kept(NamedTuple):
    """One of them. kind: "database" or "directory". name: of the database, or the directory's path on the host.

    release: the one from before which it is, and which may have nothing else to go back to; 0 if nobody needs it.
    """

    kind: str
    name: str
    bytes: int
    release: int = 0


def find(stack: Stack) -> List[Kept]:
    """Everything that former restores and releases of a stack have left, and the copies that a rollback needs."""
    return [*_databases(stack), *directories(list(backup.volumes(stack).values()))]


def _databases(stack: Stack) -> List[Kept]:
    server = Database(stack)
    rows = server.query("SELECT datname, pg_database_size(datname) FROM pg_database ORDER BY 1")
    return [
        Kept("database", name, int(size or 0), release_of(name))
        for name, size in rows
        if name and is_former(name, server.called)
    ]


def release_of(name: str) -> int:
    """The release that a former database is from before; 0 of one that a restore or a failed release left.

    It is needed to go back from that release. One whose release is forgotten was put aside by a rollback.
    """
    mark = _FORMER.search(name)
    return int(mark.group(1) or 0) if mark else 0


def is_former(name: str, called: Callable[[str], str]) -> bool:
    """Whether a database is a former one of a stack; *called* makes the names of databases beside the stack's own."""
    mark = _FORMER.search(name)
    return mark is not None and called(mark.group()) == name


def directories(places: Sequence[str]) -> List[Kept]:
    """What was in volumes before a restore; *places*: where the host sees their content."""
    return [Kept("directory", path, _size(path)) for directory in sorted(places) for path in volumes.former(directory)]


def _size(directory: str) -> int:
    place, name = os.path.split(directory)
    with beneath.opened(place) as parent:
        return beneath.size(name, parent) if parent is not None else 0


def choose(found: Sequence[Kept], names: Sequence[str], needed: bool = False) -> List[Kept]:
    """Those of *names*, or all without any; what a rollback needs only if *needed*.

    Raises OperatorError for a name that is not among them, or that a rollback needs.
    """
    known = {item.name: item for item in found}
    for name in names:
        if name not in known:
            raise OperatorError(
                "No restore or release has left anything that is called %s: 'tammactl backups' lists what is kept."
                % name
            )
        if known[name].release and not needed:
            raise OperatorError(
                "%s is the database from before release %d: nobody goes back to the release before without it, or a "
                "rollback has left it with rows that are nowhere else. To remove it all the same, add --needed."
                % (name, known[name].release)
            )
    return [item for item in found if item.name in names or not (names or (item.release and not needed))]


def remove(stack: Stack, names: Sequence[str], progress: Progress, needed: bool = False) -> List[Kept]:
    """Remove what :func:`choose` says; return what went."""
    gone = choose(find(stack), names, needed)
    known = History(stack.directory)
    server = Database(stack)
    for item in gone:
        progress("discard", "%s %s, %s" % (item.kind, item.name, room.human(item.bytes)))
        if item.kind == "database":
            server.drop(item.name)
            for entry in known.entries():
                if entry.guard == item.name:
                    known.note(entry._replace(guard=""))
        else:
            beneath.remove_tree(item.name)
    return gone
