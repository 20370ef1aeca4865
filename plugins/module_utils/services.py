# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that are stopped for a moment and started again as they are: no new definition, no new image."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import gate, stopping
from ansible_collections.meywd.tamma.plugins.module_utils.compose import last_line
from ansible_collections.meywd.tamma.plugins.module_utils.engine import NUMBER_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.probes import Probes
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

_POLL_SECONDS = 0.2
# States of a container that runs, or that its engine starts again.
_ALIVE = ("running", "restarting")

Progress = Callable[[str, str], None]


class Group:
    """Some services of a stack, with all their containers."""

    def __init__(self, stack: Stack, names: List[str], deadline: float, progress: Progress) -> None:
        """*deadline*: seconds until they have to be ready after a start."""
        self._stack = stack
        self._names = names
        self._deadline = deadline
        self._progress = progress

    def stop(self, seconds: Optional[int] = None) -> float:
        """Stop them, those that nobody asks for anything first; return when the others began to be away.

        seconds: how long each has for that, if not the time that it was given.
        """
        self.stop_unasked(seconds)
        began = time.monotonic()
        self._stop(self._names, seconds)
        return began

    def stop_unasked(self, seconds: Optional[int] = None) -> None:
        """Stop those that nobody asks for anything, with the time that they have to finish what they do."""
        self._stop([name for name in self._names if not self._serves(name)], seconds)

    def start(self) -> None:
        """Start them, one container of each service and then the others, and wait until all are ready.

        A service that migrates the database at its start takes no lock for that, hence the first alone.
        """
        self._progress("start", ", ".join(self._names))
        containers = {name: sorted(self._stack.containers(name), key=_number) for name in self._names}
        self._bring_up([found[0] for found in containers.values() if found])
        self._bring_up([item for found in containers.values() for item in found[1:]])

    def _serves(self, name: str) -> bool:
        """Whether somebody may be waiting for an answer of it."""
        return bool(self._stack.project.services[name].labels.get("tamma.edge-port"))

    def _stop(self, names: List[str], seconds: Optional[int] = None) -> None:
        alive = {
            name: [item["Id"] for item in self._stack.containers(name) if item.get("State") in _ALIVE] for name in names
        }
        found = [identifier for identifiers in alive.values() for identifier in identifiers]
        if found:
            for words in stopping.of_services(self._stack.project, [name for name in names if alive[name]]):
                self._progress("stop", words)
            self._progress("stop", ", ".join(name for name in names if alive[name]))
            _at_once(lambda identifier: self._stack.engine.stop_container(identifier, seconds), found)

    def ready(self) -> Dict[str, List[str]]:
        """The ids of the containers that can serve now, by service; nothing for one that has none."""
        found: Dict[str, List[str]] = {}
        for name in self._names:
            inspected = [self._stack.engine.container(item["Id"]) for item in self._stack.containers(name)]
            for seen in [gate.state(one, name) for one in inspected if one]:
                if gate.judge(seen, seen.restarts).outcome == "ready":
                    found.setdefault(name, []).append(seen.id)
        return found

    def remove(self) -> None:
        """Remove their containers, so that none of them can start again: one that crashes is started by its engine."""
        found = [item["Id"] for name in self._names for item in self._stack.containers(name)]
        if found:
            self._progress("stop", "removing the containers of %s" % ", ".join(self._names))
            _at_once(self._stack.engine.remove_container, found)

    def _bring_up(self, containers: List[Dict[str, Any]]) -> None:
        for item in containers:
            self._stack.engine.start_container(item["Id"])
        probes = Probes(self._stack.engine)
        until = time.monotonic() + self._deadline
        waiting = [item["Id"] for item in containers]
        restarts: Dict[str, int] = {}
        while waiting:
            for identifier in list(waiting):
                inspected = self._stack.engine.container(identifier)
                if inspected is None:
                    raise OperatorError("A container went away while it was waited for; run this again.")
                seen = gate.state(inspected, inspected["Name"].lstrip("/"))
                probes.hasten(seen)
                verdict = gate.judge(seen, restarts.setdefault(identifier, seen.restarts))
                if verdict.outcome == "ready":
                    waiting.remove(identifier)
                elif verdict.outcome == "failed" or time.monotonic() > until:
                    lines = "\n".join("  " + line for line in self._stack.engine.logs(identifier, 15))
                    words = "%s does not come up: %s.\n%s" % (seen.name, verdict.words, lines)
                    raise OperatorError(self._stack.mask(words))
            if waiting:
                time.sleep(_POLL_SECONDS)


def start_database(stack: Stack, deadline: float, progress: Progress, anew: bool = False) -> None:
    """Make sure that the stack's own PostgreSQL runs: the host may have been started anew since.

    anew: whether its container is made by the definition that is in place now.
    """
    service = stack.postgres
    if service and anew:
        # It depends on nothing.
        _came(stack, stack.compose.up([service.name]))
        Group(stack, [service.name], deadline, progress).start()
    elif service and not stack.running(service.name):
        options = ("--detach", "--no-deps", "--no-recreate")
        _came(stack, stack.compose.run("up", *options, service.name, timeout=deadline))
        Group(stack, [service.name], deadline, progress).start()


def _came(stack: Stack, result: Result) -> None:
    if result.rc:
        raise OperatorError("Docker Compose could not start PostgreSQL: %s." % stack.mask(last_line(result.err)))


def _at_once(do: Callable[[str], None], containers: List[str]) -> None:
    with concurrent.futures.ThreadPoolExecutor(len(containers)) as pool:
        list(pool.map(do, containers))


def _number(listed: Dict[str, Any]) -> int:
    return int((listed.get("Labels") or {}).get(NUMBER_LABEL) or 0)
