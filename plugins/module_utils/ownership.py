# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories of the host that a service works in: they belong to the user that writes there.

An image that does not have such a directory leaves a new volume there to root. What is in it comes from programs that
work on what strangers write. So nothing runs as root among it, in a container or here: the directory alone is opened,
no link is followed, and what is in it stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, Callable, Collection, Dict, Iterable, List, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.beneath import opened
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, of_service

# On a service: the directories in its containers that its user writes to.
LABEL = "tamma.writes"

# The user of Tamma's images for Node.js, where an image does not say whom it means.
_USER = 1001
# What a user needs of a directory to write to it.
_WRITE = 0o3
# Here a server says who may write, whatever the mode shows.
_ELSEWHERE = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "virtiofs", "fuse")
_ACL = "system.posix_acl_access"


class Place(NamedTuple):
    """A directory that has to be given to a user: who has it where, and what it is on the host."""

    service: str
    target: str
    source: str
    volume: str
    user: int
    # -1 leaves the group as it is.
    group: int

    @property
    def words(self) -> str:
        """What is done to it."""
        what = "volume " + self.volume if self.volume else self.source
        return "give %s of %s (%s) to the user %d" % (self.target, self.service, what, self.user)


def find(engine: Engine, project: Project, names: Optional[Iterable[str]] = None) -> List[Place]:
    """The directories that services cannot write to. names: of these services alone."""
    wanted = [name for name in (project.services if names is None else names) if _targets(project, name)]
    listed = engine.containers(project.name) if wanted else []
    found: Dict[str, Place] = {}
    for name in wanted:
        for item in of_service(listed, name):
            inspected = engine.container(item["Id"])
            for place in _places(engine, name, _targets(project, name), inspected) if inspected else []:
                found.setdefault(place.source, place)
    return [found[source] for source in sorted(found)]


def _targets(project: Project, name: str) -> List[str]:
    service = project.services.get(name)
    return service.labels.get(LABEL, "").split() if service else []


def _places(engine: Engine, name: str, targets: List[str], inspected: Dict[str, Any]) -> List[Place]:
    mounts = [item for item in inspected.get("Mounts") or [] if item.get("Destination") in targets and item.get("RW")]
    host = inspected.get("HostConfig") or {}
    # In a namespace of its own its users are others than they seem to be.
    if not mounts or host.get("UsernsMode") not in (None, "", "host") or engine.maps_users():
        return []
    user, group = user_of(engine, inspected)
    groups = {group, *(int(item) for item in host.get("GroupAdd") or [] if str(item).isdigit())}
    found = []
    for item in mounts:
        source = item.get("Source") or ""
        with opened(source) as directory:
            if directory is not None and is_judged_by_mode(directory):
                if can_write(os.fstat(directory), user, groups):
                    continue
                volume = (item.get("Name") or "") if item.get("Type") == "volume" else ""
                found.append(Place(name, item["Destination"], source, volume, user, group))
    return found


def user_of(engine: Engine, inspected: Dict[str, Any]) -> Tuple[int, int]:
    """The ids of the user and the group that a container's program has; a group of -1 is not known."""
    name, _colon, group = ((inspected.get("Config") or {}).get("User") or "0").partition(":")
    known = _known_users(engine.file(inspected["Id"], "/etc/passwd"))
    found = known.get(name) or next((ids for ids in known.values() if str(ids[0]) == name), None)
    user, own = found or (int(name) if name.isdigit() else _USER, -1)
    return user, int(group) if group.isdigit() else own


def _known_users(passwd: str) -> Dict[str, Tuple[int, int]]:
    rows = [line.split(":") for line in passwd.splitlines()]
    return {
        row[0]: (int(row[2]), int(row[3])) for row in rows if len(row) > 3 and row[2].isdigit() and row[3].isdigit()
    }


def is_judged_by_mode(directory: int) -> bool:
    """Whether its mode alone says who may write to an open directory: no server, and no list of further users."""
    with contextlib.suppress(OSError):
        if _ACL in os.listxattr(directory):
            return False
    return _file_system(os.fstat(directory).st_dev).partition(".")[0] not in _ELSEWHERE


def _file_system(device: int) -> str:
    wanted = "%d:%d" % (os.major(device), os.minor(device))
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            fields, _dash, rest = line.partition(" - ")
            if fields.split()[2] == wanted:
                return rest.split()[0]
    return ""


def can_write(status: os.stat_result, user: int, groups: Collection[int]) -> bool:
    """Whether a user may make files in a directory, by its mode."""
    if user == 0:
        return True
    if status.st_uid == user:
        rights = status.st_mode >> 6
    elif status.st_gid in groups:
        rights = status.st_mode >> 3
    else:
        rights = status.st_mode
    return rights & _WRITE == _WRITE


def give(place: Place) -> str:
    """Give a directory to its user. Returns a sentence when the file system refuses that, else nothing."""
    with opened(place.source) as directory:
        if directory is None:
            return ""
        try:
            os.fchown(directory, place.user, place.group)
            os.fchmod(directory, stat.S_IMODE(os.fstat(directory).st_mode) | stat.S_IRWXU)
        except OSError as exc:
            # The service may be able to write all the same, and whoever looks at it afterwards tries that.
            return (
                "%s of this host cannot be given to the user %d of %s (%s): if that cannot write to %s, give it to the "
                "user where its file system is kept."
                % (place.source, place.user, place.service, exc.strerror, place.target)
            )
    return ""


def give_all(places: Iterable[Place], tell: Callable[[str], None]) -> None:
    """Give directories to their users, and tell what is done and what is refused."""
    for place in places:
        tell(place.words)
        refused = give(place)
        if refused:
            tell(refused)
