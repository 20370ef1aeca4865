# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing services up in the order of their dependencies, each behind the health gate."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any, Callable, Dict, List

from ansible_collections.meywd.tamma.plugins.module_utils import gate, planner
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.engine import HASH_LABEL, SERVICE_LABEL, Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.redact import Redactor
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release

_POLL_SECONDS = 0.25
_STARTS_AT_ONCE = 4
_LOG_LINES = 15
# How long a service may be on its way before the operator is told what it waits for.
_QUIET_SECONDS = 5.0

Progress = Callable[[str, str], None]


class Rollout:
    """Starts the services in the order of their dependencies, each behind the health gate.

    Containers that do not exist yet are made together and at once, and started by the engine the
    moment their dependencies allow it. Those that exist are replaced one service at a time.
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
    ) -> None:
        self._engine = engine
        self._compose = compose
        self._release = release
        self._project = project
        self._together = planner.creatable_together(project, plan)
        self._actions = {change.service: change.action for change in plan.changes}
        self._progress = progress
        self._redactor = redactor
        self._waiting = planner.start_order(self._project)
        self._started: Dict[str, float] = {}
        self._ready: List[str] = []
        self._restarts: Dict[str, int] = {}
        self._words: Dict[str, str] = {}

    def run(self) -> None:
        """Return when every service is ready; raise OperatorError for the first that cannot be."""
        if self._together:
            self._progress("apply", "creating %d services" % len(self._together))
            self._compose_up(self._together, start=False)
        with concurrent.futures.ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
            starting: Dict[str, "concurrent.futures.Future[None]"] = {}
            while len(self._ready) < len(self._project.services):
                for name in planner.startable(self._project, self._waiting, self._started, self._ready):
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

    def _start(self, name: str, action: str) -> None:
        self._progress("apply", "%s: %s" % (name, _DOING[action]))
        if name in self._together:
            for item in self._containers(name):
                self._engine.start_container(item["Id"])
            return
        for item in self._containers(name):
            if action == "start" and item.get("State") == "paused":
                self._engine.unpause_container(item["Id"])
        self._compose_up([name])

    def _containers(self, name: str) -> List[Dict[str, Any]]:
        """The engine's entries for the containers of one service."""
        return [item for item in self._engine.containers(self._release.project) if container(item).service == name]

    def _compose_up(self, services: List[str], start: bool = True) -> None:
        result = self._compose.up(services, start)
        if result.rc:
            raise OperatorError(
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
                inspected = self._engine.container(item["Id"])
                if inspected:
                    found[name].append(gate.state(inspected, name))
        for name in watched:
            self._judge(self._project.services[name], found[name])

    def _judge(self, service: Service, states: List[gate.State]) -> None:
        took = time.monotonic() - self._started[service.name]
        verdicts = [gate.judge(seen, self._restarts.setdefault(seen.id, seen.restarts)) for seen in states]
        if len(states) >= service.replicas and all(verdict.outcome == "ready" for verdict in verdicts):
            self._ready.append(service.name)
            if service.name in self._actions:
                self._progress("apply", "%s: ready (%.1f s)" % (service.name, took))
            return
        for seen, verdict in zip(states, verdicts):
            if verdict.outcome == "failed":
                raise self._failure(seen, "did not come up: %s" % verdict.words)
        limit = self._release.deadlines.get(service.name, self._release.deadline)
        if took < limit:
            words = ", ".join(sorted({item.words for item in verdicts if item.outcome == "waiting"}))
            if took > _QUIET_SECONDS and words and self._words.get(service.name) != words:
                self._words[service.name] = words
                self._progress("apply", "%s: %s (%.0f s of %.0f)" % (service.name, words, took, limit))
            return
        for seen, verdict in zip(states, verdicts):
            if verdict.outcome == "waiting":
                raise self._failure(seen, "was not ready after %.0f s: %s" % (limit, verdict.words))
        raise OperatorError(
            "%s has %d of %d containers after %.0f s." % (service.name, len(states), service.replicas, limit)
        )

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
            "give it more seconds in tamma_stack_deadlines. The services that are healthy keep running."
        )
        return OperatorError("\n".join(message), service=seen.service, state=seen.status, health=seen.health, log=lines)


_DOING = {
    "create": "starting",
    "recreate": "replacing",
    "start": "starting again",
    "scale": "changing the number of containers",
}


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
    )
