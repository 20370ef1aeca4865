# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases stay on a host, and what they need: their images, and the last copy of the database."""

from __future__ import annotations

from typing import Callable, Dict, List, Set, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import history
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.history import Entry, History

_ROOT = "localhost/tamma-releases/"


def repository(project: str) -> str:
    """Under which name the images of releases are kept from being pruned; it is never pulled or pushed."""
    return _ROOT + project


def tag(identifier: str) -> str:
    """The tag of an image in that repository."""
    return identifier.partition(":")[2][:20] or identifier[:20]


def divide(entries: List[Entry], keep: int) -> Tuple[List[Entry], List[Entry]]:
    """Which releases stay, and which go.

    The last *keep* that serve or served stay, and those that failed since the oldest of them.
    """
    served = [item.number for item in entries if item.outcome != history.FAILED]
    oldest = min(served[-max(keep, 1) :], default=0)
    return [item for item in entries if item.number >= oldest], [item for item in entries if item.number < oldest]


def superfluous_guards(entries: List[Entry]) -> List[Entry]:
    """The releases whose copy of the database goes: one stays, the newest that a rollback may need."""
    guarded = [item for item in entries if item.guard and not is_put_aside(item)]
    changed = [item for item in guarded if item.before != item.schema]
    return [item for item in guarded if item not in (changed or guarded)[-1:]]


def is_put_aside(entry: Entry) -> bool:
    """Whether a rollback took the database back: what it left is no copy, and only ``tammactl discard`` removes it."""
    return entry.target > 0 and entry.before != entry.schema


def name_images(engine: Engine, project: str, identifiers: Set[str]) -> Dict[str, str]:
    """Name images for the releases of a stack; return what was named before: name → id.

    What no release turns out to need goes with the next release that serves.
    """
    named = engine.image_names(repository(project))
    for identifier in sorted(identifiers - set(named.values())):
        # What somebody has removed comes back by its digest, if it is ever needed.
        if engine.image(identifier):
            engine.tag_image(identifier, repository(project), tag(identifier))
    return named


def apply(engine: Engine, project: str, known: History, keep: int, drop: Callable[[str], None]) -> None:
    """Name the images of the releases that stay, and remove what only older ones needed. drop: removes a database."""
    stay, go = divide(known.entries(), keep)
    needed: Set[str] = {picture["id"] for item in stay for picture in item.images.values() if picture["id"]}
    named = name_images(engine, project, needed)
    for item in [*superfluous_guards(stay), *(item for item in go if item.guard and not is_put_aside(item))]:
        drop(item.guard)
        known.note(item._replace(guard=""))
    for name, identifier in sorted(named.items()):
        if identifier in needed:
            continue
        try:
            if _needed_elsewhere(engine, project, identifier):
                engine.untag_image(name)
            else:
                engine.remove_image(identifier)
        except OperatorError:
            # It is in the way of nothing, and the next release tries again.
            continue
    for item in go:
        known.forget(item.number)


def _needed_elsewhere(engine: Engine, project: str, identifier: str) -> bool:
    """Whether a release of another stack on this host is made of an image, too."""
    names = (engine.image(identifier) or {}).get("RepoTags") or []
    return any(name.startswith(_ROOT) and name.rpartition(":")[0] != repository(project) for name in names)
