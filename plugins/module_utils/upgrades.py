# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which other versions of PostgreSQL and RabbitMQ the data of a stack can be used with."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.beneath import beginning, names, opened
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.planner import keeper
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# Where PostgreSQL says in its data of which major version that is; the images from 18 on have a directory for each.
_MARK = "PG_VERSION"
_BELOW = "docker"
# The variables by which the official images say what is in them.
_VERSIONS = {"POSTGRES_PASSWORD": ("PG_MAJOR", "PG_VERSION"), "RABBITMQ_PASSWORD": ("RABBITMQ_VERSION",)}

Version = Tuple[int, ...]


def version(image: Optional[Mapping[str, Any]], names: Tuple[str, ...]) -> Version:
    """The version that an image says of itself; empty if it says none."""
    environment: Dict[str, str] = dict(
        item.partition("=")[::2] for item in ((image or {}).get("Config") or {}).get("Env") or []
    )
    for name in names:
        found = re.match(r"\d+(?:\.\d+)*", environment.get(name, ""))
        if found:
            return tuple(int(part) for part in found.group().split("."))
    return ()


def postgres(before: Version, after: Version) -> str:
    """Why PostgreSQL of one version cannot take the data of another; empty if it can."""
    if not before or not after or before[0] == after[0]:
        return ""
    return (
        "PostgreSQL %d cannot read the data of PostgreSQL %d. A new major version takes the data from a backup: take "
        "one (playbooks/backup.yml), remove the stack with its volumes (playbooks/teardown.yml), and bring the backup "
        "back with the new image in POSTGRES_IMAGE (playbooks/restore.yml). Nothing was changed."
        % (after[0], before[0])
    )


def rabbitmq(before: Version, after: Version) -> str:
    """Why RabbitMQ of one version cannot take over from another; empty if it can.

    By https://www.rabbitmq.com/docs/upgrade: only forward; to 3.12 and later from 3.11 on, and to 4.x from 3.13 on.
    """
    if not before or not after:
        return ""
    pair = "RabbitMQ %s to %s" % (".".join(map(str, before)), ".".join(map(str, after)))
    if after[:2] < before[:2]:
        return "%s is a step back, which its data does not survive: name a newer image in RABBITMQ_IMAGE." % pair
    if after[0] >= 4 and before[:2] < (3, 13):
        return "%s has to go by 3.13: deploy that first (RABBITMQ_IMAGE), then this." % pair
    if after[0] == before[0] == 3 and after[1] >= 12 and before[1] < 11:
        return "%s has to go by 3.11: deploy that first (RABBITMQ_IMAGE), then this." % pair
    return ""


def together(before: Version, after: Version, others: List[str]) -> str:
    """Why another RabbitMQ cannot come with other images in one release; empty if it can."""
    if not before or not after or before[:2] == after[:2] or not others:
        return ""
    return (
        "RabbitMQ %s to %s cannot be gone back from, and so a failure of the other new images (%s) could not be taken "
        "back either: deploy the new RabbitMQ first, with everything else as it is, then the rest. Nothing was changed."
        % (".".join(map(str, before)), ".".join(map(str, after)), ", ".join(others))
    )


def kept_data(engine: Engine, project: Project) -> List[str]:
    """Find data that somebody else has left in the volume of PostgreSQL and the stack's image cannot read.

    Returns a sentence for each; none as long as the image is not here.
    """
    service = keeper(project, "POSTGRES_PASSWORD")
    image = engine.image(service.image) if service else None
    found: List[str] = []
    if service is None or image is None:
        return found
    for name in service.volumes:
        place = engine.volume(name)
        majors = _majors(place) if place else set()
        after = (version(image, _VERSIONS["POSTGRES_PASSWORD"]) or _asked(engine, service)) if majors else ()
        if after and after[0] not in majors:
            found.append(
                "The volume %s holds the data of PostgreSQL %d, which PostgreSQL %d cannot read: set POSTGRES_IMAGE in "
                "tamma_stack_environment to an image of version %d, or, if the data is not wanted, remove the volume. "
                "Nothing was changed." % (name, max(majors), after[0], max(majors))
            )
    return found


def _majors(volume: str) -> Set[int]:
    """The major versions whose data is in a volume, where PostgreSQL's user may have put anything."""
    found = set()
    with opened(volume) as root:
        if root is not None:
            found.add(_marked(root))
            for name in names(root):
                with opened(name, root) as one:
                    if one is not None:
                        with opened(_BELOW, one) as data:
                            found.add(_marked(data) if data is not None else 0)
    return found - {0}


def _marked(directory: int) -> int:
    said = re.fullmatch(rb"(\d{1,3})\s*", beginning(_MARK, directory, 16))
    return int(said[1]) if said else 0


def _asked(engine: Engine, service: Service) -> Version:
    """What the program in an image says of its version; empty if that is no version."""
    _status, lines = engine.run(service.image, ["postgres", "--version"], [])
    said = re.search(r"\(PostgreSQL\) (\d+)", "\n".join(lines))
    return (int(said[1]),) if said else ()


def problems(
    engine: Engine,
    project: Project,
    replaced: Tuple[str, ...],
    stack: Optional[Stack],
    former: Mapping[str, Mapping[str, str]],
) -> List[str]:
    """Find what keeps the new images from the data. Returns a sentence for each.

    former: service → "id" of its image in the present release, for one whose container was removed.
    """
    found = []
    for setting, rule in (("POSTGRES_PASSWORD", postgres), ("RABBITMQ_PASSWORD", rabbitmq)):
        here = stack.keeper(setting) if stack else None
        service = keeper(project, setting)
        if here is None or service is None or stack is None or service.name not in replaced:
            continue
        names = _VERSIONS[setting]
        present = [item.get("ImageID", "") for item in stack.containers(here.name)]
        present.append(former.get(here.name, {}).get("id", ""))
        before, after = version(engine.image(present[0]), names), version(engine.image(service.image), names)
        others = [name for name in replaced if name != service.name]
        words = rule(before, after) or (together(before, after, others) if rule is rabbitmq else "")
        if words:
            found.append(words)
    return found
