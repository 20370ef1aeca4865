# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy would do to the containers, decided from facts alone."""

from __future__ import annotations

from typing import Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.stopping import LABEL as STOPPING_LABEL

STORED_LABEL = "tamma.stored-settings"
# Why a service should have one container: what it does by itself each of them would do.
ALONE_LABEL = "tamma.alone"

# What works on issues.
_ENGINE = "tamma-engine"

# The states of a container that only has to be started again.
_STOPPED = ("created", "exited", "dead", "paused")


class Container(NamedTuple):
    """A container of the stack as the engine reports it in its list.

    ports: the published ones. done: it has ended by itself, with exit status 0. name: what the engine
    and the other containers call it. number: Compose's, within its service. stopping: what is lost when it
    stops.
    """

    id: str
    service: str
    config_hash: str
    image_id: str
    state: str
    ports: Tuple[int, ...] = ()
    done: bool = False
    name: str = ""
    number: int = 0
    stopping: str = ""


class Change(NamedTuple):
    """What happens to one service: create, recreate, start, scale, reload or remove; and why."""

    service: str
    action: str
    reason: str


class Plan(NamedTuple):
    """What a deploy does to containers, in this order.

    pulls: image references that the engine lacks. refreshes: those that it has and shall ask the
    registry for again. orphans: containers whose service is no longer part of the stack.
    """

    pulls: List[str]
    refreshes: List[str]
    changes: List[Change]
    orphans: List[Container]

    def action(self, service: str) -> Optional[str]:
        """The action that is planned for a service, None when it stays as it is."""
        for change in self.changes:
            if change.service == service:
                return change.action
        return None


def plan(
    project: Project, containers: Iterable[Container], images: Dict[str, Optional[str]], pull_always: bool = False
) -> Plan:
    """Compare what is wanted with what is there.

    images: reference → id of the local image, None when it must be pulled.
    """
    current: Dict[str, List[Container]] = {}
    for container in containers:
        current.setdefault(container.service, []).append(container)
    changes = []
    for name in start_order(project):
        verdict = _compare(project, name, current.get(name, []), images)
        if verdict:
            changes.append(Change(name, *verdict))
    orphans = [item for name, items in sorted(current.items()) if name not in project.services for item in items]
    costs = {item.service: item.stopping for item in orphans}
    changes += [
        Change(name, "remove", "no longer part of the stack" + _in_brackets(cost))
        for name, cost in sorted(costs.items())
    ]
    pulls = [image for image, local in sorted(images.items()) if local is None]
    refreshes = [image for image, local in sorted(images.items()) if pull_always and local is not None]
    return Plan(pulls, refreshes, changes, orphans)


def _compare(
    project: Project, name: str, current: List[Container], images: Dict[str, Optional[str]]
) -> Optional[Tuple[str, str]]:
    service = project.services[name]
    local = images.get(service.image)
    if not current:
        return ("create", "new") if service.replicas else None
    cost = service.labels.get(STOPPING_LABEL, "")
    if any(item.config_hash != service.config_hash for item in current):
        return "recreate", "its definition changed" + _in_brackets(cost)
    if local and any(item.image_id != local for item in current):
        return "recreate", "its image changed" + _in_brackets(cost)
    if len(current) != service.replicas:
        why = _in_brackets(
            service.labels.get(ALONE_LABEL, "") if service.replicas == 1 else "",
            cost if service.replicas < len(current) else "",
        )
        return "scale", "%d instead of %d containers%s" % (service.replicas, len(current), why)
    # A job that nobody restarts and that ended well has done its work.
    once = service.restart in ("no", "on-failure")
    stopped = sorted({item.state for item in current if item.state in _STOPPED and not (once and item.done)})
    if stopped:
        return "start", "it is " + " and ".join(stopped)
    return None


def _in_brackets(*words: str) -> str:
    said = "; ".join(word for word in words if word)
    return " (%s)" % said if said else ""


def replaced(project: Project, containers: Iterable[Container], images: Mapping[str, Optional[str]]) -> Tuple[str, ...]:
    """The services that get an image which no container of theirs has, new ones among them.

    images: as for :func:`plan`; an image that is still to be pulled counts as another one.
    """
    present: Dict[str, List[str]] = {}
    for item in containers:
        present.setdefault(item.service, []).append(item.image_id)
    return tuple(
        name
        for name, service in sorted(project.services.items())
        if service.replicas and images.get(service.image) not in present.get(name, [])
    )


def outdated(service: Service, containers: Iterable[Container], image_id: Optional[str]) -> List[Container]:
    """The containers that are not what *service* asks for: another definition, or another image."""
    return [
        item
        for item in containers
        if item.config_hash != service.config_hash or (image_id is not None and item.image_id != image_id)
    ]


def start_order(project: Project) -> List[str]:
    """Order the services so that each comes after what it depends on; by name where that is equal."""
    ordered: List[str] = []
    waiting = sorted(project.services)
    while waiting:
        free = [
            name
            for name in waiting
            if all(other in ordered or other not in project.services for other in project.services[name].depends_on)
        ]
        if not free:
            raise OperatorError("The services %s depend on each other in a circle." % ", ".join(waiting))
        ordered += free
        waiting = [name for name in waiting if name not in free]
    return ordered


def startable(project: Project, waiting: Iterable[str], started: Iterable[str], ready: Iterable[str]) -> List[str]:
    """Choose the services of *waiting* whose dependencies have come as far as they ask for."""
    reached = {"service_started": set(started) | set(ready)}
    return [
        name
        for name in waiting
        if all(
            other in reached.get(condition, set(ready))
            for other, condition in project.services[name].depends_on.items()
            if other in project.services
        )
    ]


def creatable_together(project: Project, plan: Plan, stopped: Collection[str] = ()) -> List[str]:
    """The services whose containers can be made at once, before anything else happens: new ones, and *stopped* ones.

    Compose treats what a service depends on with it, so a service is left out when one of its
    dependencies, direct or not, runs and has to change.
    """
    together: List[str] = []
    for name in start_order(project):
        needs = [other for other in project.services[name].depends_on if other in project.services]
        new = plan.action(name) == "create" or (name in stopped and plan.action(name) in ("recreate", "scale"))
        if new and all(other in together or not plan.action(other) for other in needs):
            together.append(name)
    return together


def doubled_ports(project: Project) -> List[str]:
    """Find TCP ports that two services of the stack would publish. Returns a sentence for each."""
    problems = []
    seen: Dict[Tuple[str, int], str] = {}
    for name, service in sorted(project.services.items()):
        for port in service.ports:
            first = seen.setdefault((port.protocol, port.published), name)
            if first != name:
                problems.append(
                    "Port %d would be published by %s and by %s: choose another one for one of them in "
                    "tamma_stack_environment." % (port.published, first, name)
                )
    return problems


def split_orphans(project: Project, orphans: Iterable[Container]) -> Tuple[List[Container], List[Container]]:
    """Divide orphans into those that are in the way of what the stack has now, and the others.

    The first hold a port that it publishes, or are the engine, which would take the same issues as the one in its
    place. They must go before the services start; the others stay until the services are ready.
    """
    wanted = {port.published for service in project.services.values() for port in service.ports}
    in_the_way: List[Container] = []
    others: List[Container] = []
    for orphan in orphans:
        (in_the_way if orphan.service == _ENGINE or wanted.intersection(orphan.ports) else others).append(orphan)
    return in_the_way, others


def stored(service: Service) -> List[str]:
    """The settings that a service keeps in its volume since its first start."""
    return service.labels.get(STORED_LABEL, "").split()


def keeper(project: Project, setting: str) -> Optional[Service]:
    """The service that keeps a setting in its volume; None when an external server has its place."""
    return next((service for service in project.services.values() if setting in stored(service)), None)


def check_stored_settings(
    project: Project,
    volumes: Iterable[str],
    before: Dict[str, str],
    after: Dict[str, str],
    given: Iterable[str],
    kept_as: Mapping[str, str],
) -> List[str]:
    """Find settings that a service keeps in its volume since its first start and that would change.

    before, after: the settings in the former ``.env`` (empty when there is none) and in the new one.
    given: the names that the operator set himself. kept_as: the names under which the former ``.env`` has a
    setting, where that is another one. Returns a sentence for each problem.
    """
    existing = set(volumes)
    given = set(given)
    problems = []
    for name, service in sorted(project.services.items()):
        kept_in = [volume for volume in service.volumes if volume in existing]
        if not kept_in:
            continue
        for key in stored(service):
            if before and before.get(key) != after.get(key):
                remedy = "Rotate it with the playbook rotate_secrets, or set" if key.endswith("_PASSWORD") else "Set"
                problems.append(
                    "%s differs from the value that %s was first started with and keeps in the volume %s: a deploy "
                    "would lock the other services out. %s it back to the former value, which the stack's directory on "
                    "the host has as %s." % (key, name, kept_in[0], remedy, kept_as.get(key, key))
                )
            elif not before and key in after and key not in given:
                problems.append(
                    "The volume %s of %s exists, but the %s that it was made with is not known any more: set it in the "
                    "inventory, or remove the volume if its data is not wanted." % (kept_in[0], name, key)
                )
    return problems
