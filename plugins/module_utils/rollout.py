# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing services up in the order of their dependencies, each behind the health gate."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import edge, gate, ownership, planner, stopping
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.edge import Edge
from ansible_collections.meywd.tamma.plugins.module_utils.engine import (
    HASH_LABEL,
    NUMBER_LABEL,
    SERVICE_LABEL,
    Engine,
    of_service,
)
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.hold import Hold
from ansible_collections.meywd.tamma.plugins.module_utils.probes import Probes
from ansible_collections.meywd.tamma.plugins.module_utils.redact import Redactor
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result

_POLL_SECONDS = 0.25
_STARTS_AT_ONCE = 4
_LOG_LINES = 15
# How long a service may be on its way before the operator is told what it waits for.
_QUIET_SECONDS = 5.0
# How long a request may wait for a service whose old container goes before the new one comes.
_HOLD_SECONDS = 60.0

Progress = Callable[[str, str], None]


class Rollout:
    """Starts the services in the order of their dependencies, each behind the health gate.

    Containers that do not exist yet are made together and at once, and started by the engine the
    moment their dependencies allow it. Those that exist are replaced: behind the edge the new ones come
    first and the old ones go when nobody is served by them any more, or the other way round while requests
    wait (see planner.ALONE_LABEL), else Compose recreates them.
    """

    def __init__(
        self,
        engine: Engine,
        compose: Compose,
        release: Release,
        project: Project,
        plan: planner.Plan,
        progress: Progress,
        redactor: Redactor,
        held: bool = False,
    ) -> None:
        """*held*: the edge holds requests; it is left alone, and what serves stays beside what comes."""
        self._held = held
        self._engine = engine
        self._probes = Probes(engine)
        self._compose = compose
        self._release = release
        self._project = project
        self._edge = Edge(compose, release.directory, project)
        self._edge_lock = threading.Lock()
        self._actions = {change.service: change.action for change in plan.changes}
        # While requests are held, what was stopped serves nobody: nothing has to stay beside its successor.
        stopped = [name for name in self._actions if held and not self._runs(name)]
        self._together = planner.creatable_together(project, plan, stopped)
        self._progress = progress
        self._redactor = redactor
        item = edge.service(project)
        self._left_alone = [item.name] if held and item else []
        self._waiting = [name for name in planner.start_order(project) if name not in self._left_alone]
        self._started: Dict[str, float] = {}
        self._ready: List[str] = list(self._left_alone)
        # Services of several containers whose first one is ready: enough for those that depend on them.
        self._serving: List[str] = []
        self._restarts: Dict[str, int] = {}
        self._words: Dict[str, str] = {}

    def run(self) -> None:
        """Return when every service is ready; raise OperatorError for the first that cannot be."""
        if self._together:
            self._progress("apply", "creating %d services" % len(self._together))
            self._compose_up(self._together, start=False)
            self._give(self._together)
        with concurrent.futures.ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
            starting: Dict[str, "concurrent.futures.Future[None]"] = {}
            try:
                while len(self._ready) < len(self._project.services):
                    startable = planner.startable(
                        self._project, self._waiting, self._started, [*self._ready, *self._serving]
                    )
                    for name in startable:
                        if self._edge_comes_first(name, startable):
                            continue
                        self._waiting.remove(name)
                        if name in self._actions:
                            starting[name] = pool.submit(self._start, name, self._actions[name])
                        else:
                            self._started[name] = time.monotonic()
                    for name in [name for name, future in starting.items() if future.done()]:
                        starting.pop(name).result()
                        self._started[name] = time.monotonic()
                    ready_before = len(self._ready)
                    self._look()
                    if len(self._ready) == ready_before:
                        time.sleep(_POLL_SECONDS)
            except BaseException:
                # What has begun comes to its end; what waits in the queue does not begin.
                for future in starting.values():
                    future.cancel()
                raise
        if not self._held:
            self._settle_edge()

    def _edge_comes_first(self, name: str, startable: List[str]) -> bool:
        """Whether a service is replaced behind an edge that is made anew itself, and cannot be told of it meanwhile."""
        item = edge.service(self._project)
        if self._held or item is None or name not in self._edge.routed or item.name in self._ready:
            return False
        if item.name in self._waiting and item.name not in startable:
            # Somebody lets the edge wait for others, perhaps for this one.
            return False
        return self._actions.get(item.name) not in (None, "reload") and bool(self._containers(name))

    def _start(self, name: str, action: str) -> None:
        if action == "reload":
            return  # once, when every service is ready
        listed = self._containers(name)
        found = [container(item) for item in listed]
        service = self._project.services[name]
        if action == "recreate" or (action == "scale" and service.replicas < len(found)):
            for words in stopping.of_containers(listed):
                self._progress("apply", words)
        if name in self._together:
            self._progress("apply", "%s: %s" % (name, _DOING[action]))
            self._start_created(service, found)
            return
        if action in ("recreate", "scale") and name in self._edge.routed and self._edge_serves():
            old = planner.outdated(service, found, (self._engine.image(service.image) or {}).get("Id"))
            alone = planner.ALONE_LABEL in service.labels
            if alone and self._held and any(item.state == "running" for item in old):
                # It serves on, and nothing may stand beside it: it is replaced when requests no longer wait.
                return
            if old and alone and not self._held:
                self._replace_alone(service, found, old)
            else:
                self._replace(service, found)
            return
        self._progress("apply", "%s: %s" % (name, _DOING[action]))
        if action == "scale":
            # Compose would take the last ones, whatever they are like.
            for item in sorted(found, key=self._by_worth)[service.replicas :]:
                self._engine.remove_container(item.id)
        for item in found:
            if action == "start" and item.state == "paused":
                self._engine.unpause_container(item.id)
        self._compose_up([name])
        self._give([name])

    def _start_created(self, service: Service, created: List[planner.Container]) -> None:
        """Start new containers: one, and the others when it is ready.

        A service that migrates the database at its start takes no lock for that.
        """
        if not created:
            return  # it shall have no container
        first, *others = sorted(created, key=lambda item: item.number)
        self._engine.start_container(first.id)
        if others:
            self._await(service, [first.id])
            self._serving.append(service.name)
        for item in others:
            self._engine.start_container(item.id)

    def _runs(self, name: str) -> bool:
        return any(item.get("State") == "running" for item in self._containers(name))

    def _edge_serves(self) -> bool:
        item = edge.service(self._project)
        return item is not None and self._runs(item.name)

    def _replace(self, service: Service, found: List[planner.Container]) -> None:
        """Put new containers beside the old ones, move the requests over, and let the old ones finish.

        What an interrupted run has left is taken into account: new containers count, and old ones
        that do not run only go.
        """
        local = (self._engine.image(service.image) or {}).get("Id")
        old = planner.outdated(service, found, local)
        for item in [item for item in found if item.state != "running"]:
            self._engine.remove_container(item.id)
        old = [item for item in old if item.state == "running"]
        kept = sorted((item for item in found if item.state == "running" and item not in old), key=self._by_worth)
        leaving = old + kept[service.replicas :]
        kept = kept[: service.replicas]
        missing = service.replicas - len(kept)
        new: List[planner.Container] = []
        if missing:
            self._progress("apply", "%s: %d new beside %d that serve" % (service.name, missing, len(old) + len(kept)))
            # The first alone: see _start_created.
            for more in sorted({1, missing}):
                new = self._add(service, [*leaving, *kept], more)
        if self._held:
            return
        # In two steps: a request that is under way while the second is taken over knows the new ones
        # already, and goes to one of them when its old one has gone.
        self._route(service.name, [*leaving, *kept, *new])
        self._route(service.name, [*kept, *new])
        self._drain(service.name, leaving)
        for item in leaving:
            self._engine.remove_container(item.id)

    def _replace_alone(self, service: Service, found: List[planner.Container], old: List[planner.Container]) -> None:
        """Stop the old containers before the new ones start, because both would do the same work.

        Of several the one that serves goes last, and requests wait until the first new one is ready. What an
        interrupted run has left of new ones stays, and nobody waits.
        """
        well = sorted((item for item in found if self._is_well(item)), key=_by_number)
        kept = [item for item in well if item not in old][: service.replicas]
        last = kept or well[:1]
        if last:
            leaving = [item for item in found if item not in last]
            if leaving:
                self._route(service.name, last)
                self._drain(service.name, leaving)
            for item in sorted(leaving, key=self._by_worth, reverse=True):
                self._engine.remove_container(item.id)
        if not kept:
            kept = self._exchange(service, last or found)
        if service.replicas > len(kept):
            self._route(service.name, [*kept, *self._add(service, kept, service.replicas - len(kept))])

    def _exchange(self, service: Service, found: List[planner.Container]) -> List[planner.Container]:
        """Put one new container in the place of the last old ones, while requests wait."""
        self._progress("apply", "%s: requests wait, and the old one stops first" % service.name)
        waiting = Hold(self._edge, self._engine)
        began = time.monotonic()
        with self._edge_lock:
            waiting.begin([service.name], _HOLD_SECONDS)
        try:
            waiting.drain({service.name: [item.id for item in found]}, self._release.drain)
            for item in found:
                self._engine.remove_container(item.id)
            # The first alone: see _start_created.
            new = self._add(service, [], 1) if service.replicas else []
            gap = time.monotonic() - began
            with self._edge_lock:
                count = waiting.release({service.name: [item.id for item in new]}, self._release.drain)
            self._progress(
                "apply",
                "%s: %d connections waited, for %.1f s at most" % (service.name, count, gap),
            )
        finally:
            waiting.close()
        return new

    def _is_well(self, item: planner.Container) -> bool:
        """Whether a container serves: it runs, and its health check, if it has one, does not say otherwise."""
        inspected = self._engine.container(item.id) if item.state == "running" else None
        return inspected is not None and gate.state(inspected, item.service).health in (None, "healthy")

    def _by_worth(self, item: planner.Container) -> Tuple[bool, bool, int]:
        """Those that shall stay come first: one that serves before one that does not."""
        return not self._is_well(item), item.state != "running", item.number

    def _add(self, service: Service, there: List[planner.Container], more: int) -> List[planner.Container]:
        """Bring *more* containers up beside those that are *there*; take them away again if they fail."""
        known = {item.id for item in there}

        def added() -> List[planner.Container]:
            every = [container(item) for item in self._containers(service.name)]
            return [item for item in every if item.id not in known]

        try:
            done = self._compose.add(service.name, len(there) + more)
            if done.rc:
                raise self._refused([service.name], done)
            self._give([service.name])
            self._await(service, [item.id for item in added()])
        except OperatorError:
            for item in added():
                self._engine.remove_container(item.id)
            raise
        return added()

    def _route(self, name: str, containers: List[planner.Container]) -> None:
        with self._edge_lock:
            if self._edge.route(name, [item.name for item in containers]):
                self._edge.reload()

    def _drain(self, name: str, leaving: List[planner.Container]) -> None:
        """Wait until the edge has no connection to the old containers any more, or their time is up."""
        if not leaving:
            return
        self._progress("apply", "%s: the old ones finish what they have" % name)
        self._edge.drain(self._engine, {name: [item.id for item in leaving]}, self._release.drain)

    def _settle_edge(self) -> None:
        """Make the edge send requests to the containers that are there now, and load its configuration."""
        item = edge.service(self._project)
        if item is None:
            return
        held = self._edge.held
        running = {
            name: [container(found) for found in self._containers(name) if found.get("State") == "running"]
            for name in self._edge.routed
        }
        changed = [
            name
            for name, found in running.items()
            if name not in held and self._edge.route(name, [one.name for one in found])
        ]
        if held:
            self._progress("apply", "%s: requests no longer wait" % ", ".join(held))
            serving = {name: [one.id for one in running[name]] for name in held}
            Hold(self._edge, self._engine).release(serving, self._release.drain)
        elif changed or item.name in self._actions:
            self._progress("apply", "%s: taking over its configuration" % item.name)
            self._edge.reload()

    def _give(self, names: List[str]) -> None:
        """Let new containers write to the directories that were made for them."""
        found = ownership.find(self._engine, self._project, names)
        ownership.give_all(found, lambda words: self._progress("apply", words))

    def _containers(self, name: str) -> List[Dict[str, Any]]:
        """The engine's entries for the containers of one service."""
        return of_service(self._engine.containers(self._release.project), name)

    def _compose_up(self, services: List[str], start: bool = True) -> None:
        result = self._compose.up(services, start)
        if result.rc:
            raise self._refused(services, result)

    def _refused(self, services: List[str], result: Result) -> OperatorError:
        return OperatorError(
            "Docker Compose could not start %s: %s."
            % (", ".join(services), self._redactor.mask(last_line(result.err))),
            rc=result.rc,
        )

    def _look(self) -> None:
        """Ask the engine about every service that was started and is not ready yet."""
        watched = [name for name in self._started if name not in self._ready]
        if not watched:
            return
        found: Dict[str, List[gate.State]] = {name: [] for name in watched}
        for item in self._engine.containers(self._release.project):
            name = container(item).service
            if name in found:
                found[name] += self._states(name, [item["Id"]])
        for name in watched:
            service = self._project.services[name]
            if self._all_ready(service, found[name], service.replicas, self._started[name]):
                self._ready.append(name)

    def _await(self, service: Service, identifiers: List[str]) -> None:
        """Wait until these containers of a service are ready."""
        began = time.monotonic()
        while not self._all_ready(service, self._states(service.name, identifiers), len(identifiers), began):
            time.sleep(_POLL_SECONDS)

    def _states(self, name: str, identifiers: List[str]) -> List[gate.State]:
        inspected = [self._engine.container(identifier) for identifier in identifiers]
        states = [gate.state(one, name) for one in inspected if one]
        for seen in states:
            self._probes.hasten(seen)
        return states

    def _all_ready(self, service: Service, states: List[gate.State], count: int, began: float) -> bool:
        """Whether *count* containers are ready; raise OperatorError when they will not be in time."""
        took = time.monotonic() - began
        verdicts = [gate.judge(seen, self._restarts.setdefault(seen.id, seen.restarts)) for seen in states]
        if len(states) >= count and all(verdict.outcome == "ready" for verdict in verdicts):
            if service.name in self._actions:
                self._progress("apply", "%s: ready (%.1f s)" % (service.name, took))
            return True
        for seen, verdict in zip(states, verdicts):
            if verdict.outcome == "failed":
                raise self._failure(seen, "did not come up: %s" % verdict.words)
        limit = self._release.deadlines.get(service.name, self._release.deadline)
        if took < limit:
            words = ", ".join(sorted({item.words for item in verdicts if item.outcome == "waiting"}))
            if took > _QUIET_SECONDS and words and self._words.get(service.name) != words:
                self._words[service.name] = words
                self._progress("apply", "%s: %s (%.0f s of %.0f)" % (service.name, words, took, limit))
            return False
        for seen, verdict in zip(states, verdicts):
            if verdict.outcome == "waiting":
                raise self._failure(seen, "was not ready after %.0f s: %s" % (limit, verdict.words))
        raise OperatorError("%s has %d of %d containers after %.0f s." % (service.name, len(states), count, limit))

    def _failure(self, seen: gate.State, what: str) -> OperatorError:
        """Describe a service that did not come up: its state, its last lines, what to do."""
        lines = [self._redactor.mask(line) for line in self._engine.logs(seen.id, _LOG_LINES)]
        message = ["%s (container %s) %s." % (seen.service, seen.name, what)]
        if seen.detail:
            message.append("The last probe said: %s" % self._redactor.mask(seen.detail.splitlines()[-1]))
        message.append("Its last lines:" if lines else "It wrote nothing.")
        message += ["  " + line for line in lines]
        message.append(
            "What to do: correct what the lines complain about and run this again; if the service only needs longer, "
            "give it more seconds in tamma_stack_deadlines."
        )
        return OperatorError("\n".join(message), service=seen.service, state=seen.status, health=seen.health, log=lines)


_DOING = {
    "create": "starting",
    "recreate": "replacing",
    "start": "starting again",
    "scale": "changing the number of containers",
}


def _by_number(item: planner.Container) -> int:
    return item.number


def container(listed: Dict[str, Any]) -> planner.Container:
    """Read one entry of the engine's container list."""
    labels = listed.get("Labels") or {}
    return planner.Container(
        id=listed["Id"],
        service=labels.get(SERVICE_LABEL, ""),
        config_hash=labels.get(HASH_LABEL, ""),
        image_id=listed.get("ImageID", ""),
        state=listed.get("State", ""),
        done=listed.get("Status", "").startswith("Exited (0)"),
        ports=tuple(binding["PublicPort"] for binding in listed.get("Ports") or [] if binding.get("PublicPort")),
        name=(listed.get("Names") or [""])[0].lstrip("/"),
        number=int(labels.get(NUMBER_LABEL) or 0),
        stopping=labels.get(stopping.LABEL, ""),
    )
