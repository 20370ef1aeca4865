# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: which containers get requests, and how its configuration changes while it serves.

Caddy is told the names of containers that are healthy, never the name of a service: behind that the
engine would send requests to containers that are starting or stopping.
"""

from __future__ import annotations

import contextlib
import glob
import os
import time
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import connections
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, addresses, of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, fingerprint, read, write

# On the edge itself: the path of its configuration in the container. On others: the port for requests.
CONFIG_LABEL = "tamma.edge-config"
PORT_LABEL = "tamma.edge-port"
# On a service whose stop waits for streams of events: they are cut here first.
STREAMS_LABEL = "tamma.streams"

# What the edge's directory holds, below the project directory, and what of it the edge has loaded.
DIRECTORY = "edge"
UPSTREAMS = DIRECTORY + "/upstreams"
_LOADED = ".tamma/edge-loaded"

_RELOAD_SECONDS = 60

# A request that came before the edge forgot a container may still be on its way there, while its password is checked
# for instance. Caddy does not send it elsewhere then: it gives up whatever belongs to a former configuration.
ON_THEIR_WAY_SECONDS = 2.0
_POLL_SECONDS = 0.25

# How the upstreams of a service begin whose requests wait at the edge (see hold.py).
_HELD = "to unix/"


def service(project: Project) -> Optional[Service]:
    """The stack's edge; None when it has none."""
    for item in project.services.values():
        if CONFIG_LABEL in item.labels:
            return item
    return None


def routed(project: Project) -> Dict[str, str]:
    """The services that the edge sends requests to, and the port of each; none without an edge."""
    if service(project) is None:
        return {}
    return {
        name: item.labels[PORT_LABEL]
        for name, item in project.services.items()
        if item.labels.get(PORT_LABEL) and not item.ports
    }


def upstreams(names: Iterable[str], port: str) -> str:
    """The line of Caddy's configuration that names the containers of one service."""
    return "to %s\n" % " ".join("%s:%s" % (name, port) for name in sorted(names))


def held_upstreams(socket: str, seconds: float) -> str:
    """The same for a service whose requests wait behind a *socket*, for *seconds* at most when nobody listens there.

    Failures are not counted then, because Caddy would not look for a while and refuse at once what is no GET; without
    a largest number of them, though, it would never look.
    """
    return "%s%s\nlb_try_duration %gs\nlb_try_interval 250ms\nfail_duration 0s\nmax_fails 1\n" % (
        _HELD,
        socket,
        seconds,
    )


def wanted(files: Iterable[File], directory: str) -> str:
    """Hash the configuration as it will be: the release's files, and the upstreams as they are on the host."""
    below = [item for item in files if item.path.startswith(DIRECTORY + "/") and not item.initial]
    return fingerprint([*below, *_present(directory, UPSTREAMS)])


def loaded(directory: str) -> str:
    """The hash of the configuration that the edge took over last; empty when it never did."""
    return (read(os.path.join(directory, _LOADED)) or "").strip()


def _present(directory: str, below: str) -> List[File]:
    paths = glob.glob(os.path.join(directory, below, "**"), recursive=True)
    return [File(os.path.relpath(path, directory), read(path) or "") for path in sorted(paths) if os.path.isfile(path)]


class Edge:
    """The running edge of one stack."""

    def __init__(self, compose: Compose, directory: str, project: Project) -> None:
        self._compose = compose
        self._directory = directory
        self._project = project.name
        self._service = service(project)
        self._ports = routed(project)
        self._streaming = [name for name in self._ports if STREAMS_LABEL in project.services[name].labels]

    @property
    def routed(self) -> Dict[str, str]:
        """The services behind this edge, and the port of each."""
        return self._ports

    def names(self, name: str) -> List[str]:
        """The containers that get a service's requests now; none while they are held."""
        text = read(self._path(name)) or ""
        return [] if text.startswith(_HELD) else sorted(item.rpartition(":")[0] for item in text.split()[1:])

    @property
    def held(self) -> List[str]:
        """The services whose requests wait, by what stands on the host."""
        return sorted(name for name in self._ports if (read(self._path(name)) or "").startswith(_HELD))

    def route(self, name: str, containers: Iterable[str]) -> bool:
        """Send a service's requests to *containers* from now on; say whether anything changed."""
        # Without any, requests wait for one: the name is looked up at each of them.
        return self._write(name, upstreams(list(containers) or [name], self._ports[name]))

    def hold(self, name: str, seconds: float) -> bool:
        """Let a service's requests wait for its :meth:`socket` from now on; say whether anything changed."""
        directory = os.path.dirname(self._service.labels[CONFIG_LABEL]) if self._service else ""
        inside = os.path.join(directory, os.path.relpath(self.socket(name), os.path.join(self._directory, DIRECTORY)))
        return self._write(name, held_upstreams(inside, seconds))

    def state(self, names: Iterable[str]) -> Dict[str, str]:
        """Where the requests of services go now, for :meth:`restore`."""
        return {name: read(self._path(name)) or "" for name in names}

    def restore(self, state: Mapping[str, str]) -> None:
        """Write back where the requests of services went."""
        for name, text in state.items():
            self._write(name, text)

    def socket(self, name: str) -> str:
        """Where on the host the edge looks for a socket while a service's requests wait."""
        return os.path.join(self._directory, UPSTREAMS, name + ".socket")

    def _write(self, name: str, text: str) -> bool:
        if read(self._path(name)) == text:
            return False
        write(self._directory, [File("%s/%s.caddy" % (UPSTREAMS, name), text)])
        return True

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, UPSTREAMS, name + ".caddy")

    def reload(self) -> None:
        """Let the edge take its configuration over; connections and requests go on.

        Forced, because Caddy compares only the main file: a renewed certificate would not be seen.
        """
        if self._service is None:
            return
        # Before: a change that comes while it loads must not pass for loaded.
        mark = fingerprint(_present(self._directory, DIRECTORY))
        # Whatever happens until its answer is written down, the next one to come lets it load again.
        former = loaded(self._directory)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._directory, _LOADED))
        done = self._compose.run(
            *("exec", "-T", self._service.name, "caddy", "reload", "--force"),
            *("--config", self._service.labels[CONFIG_LABEL], "--adapter", "caddyfile"),
            timeout=_RELOAD_SECONDS,
        )
        if done.rc:
            if former:
                self.mark(former)
            raise OperatorError(
                "The edge refuses its new configuration and goes on with the former one: %s." % _reason(done.err),
                rc=done.rc,
            )
        self.mark(mark)

    def mark(self, loaded_hash: str = "") -> None:
        """Remember what the edge has loaded: what is there, for one that was just started."""
        text = loaded_hash or fingerprint(_present(self._directory, DIRECTORY))
        write(self._directory, [File(_LOADED, text + "\n", 0o600)])

    @property
    def has_loaded(self) -> bool:
        """Whether the edge has loaded what stands on the host."""
        return loaded(self._directory) == fingerprint(_present(self._directory, DIRECTORY))

    def drain(self, engine: Engine, leaving: Mapping[str, Iterable[str]], seconds: float) -> None:
        """Wait until the edge has no connection to containers that it forgot, or their *seconds* are up.

        Streams have no end, and come back by another container: they are cut, when the requests that were on their way
        have begun, and what only looks like a stream when the time is up. leaving: service → ids of its containers.
        """
        own = self._service.name if self._service else ""
        edges = [engine.container(item["Id"]) or {} for item in of_service(engine.containers(self._project), own)]
        sources = [address for inspected in edges for address in addresses(inspected)]
        found = [
            (name, engine.container(identifier) or {})
            for name, identifiers in leaving.items()
            for identifier in identifiers
        ]
        ends = [(_pid(inspected), int(self._ports[name])) for name, inspected in found]
        streaming = {
            (address, int(self._ports[name]))
            for name, inspected in found
            if name in self._streaming
            for address in addresses(inspected)
        }
        began = time.monotonic()
        while time.monotonic() - began < seconds and (
            time.monotonic() - began < ON_THEIR_WAY_SECONDS
            or any(connections.count(pid, port, sources) for pid, port in ends if pid)
        ):
            time.sleep(_POLL_SECONDS)
            if time.monotonic() - began >= ON_THEIR_WAY_SECONDS:
                self._cut(edges, streaming)
        self._cut(edges, streaming, unmarked=True)

    @staticmethod
    def _cut(edges: List[Dict[str, Any]], streaming: Set[Tuple[str, int]], unmarked: bool = False) -> None:
        for inspected in edges if streaming else []:
            connections.cut_streams(_pid(inspected), streaming, unmarked)

    def is_current(self, files: Iterable[File]) -> bool:
        """Say whether the edge has loaded what *files* and the upstreams on the host say."""
        return loaded(self._directory) == wanted(files, self._directory)


def _pid(inspected: Mapping[str, Any]) -> int:
    return int((inspected.get("State") or {}).get("Pid") or 0)


def check(engine: Engine, item: Service, directory: str) -> None:
    """Let Caddy judge the configuration below *directory* in a container that is thrown away.

    Raises OperatorError with Caddy's own complaint.
    """
    argv = ["caddy", "validate", "--config", item.labels[CONFIG_LABEL], "--adapter", "caddyfile"]
    target = os.path.dirname(item.labels[CONFIG_LABEL])
    status, lines = engine.run(item.image, argv, ["%s:%s:ro" % (os.path.join(directory, DIRECTORY), target)])
    if status:
        raise OperatorError(
            "Caddy does not accept the configuration of the edge: %s. Check the variables tamma_stack_edge_*; nothing "
            "was changed." % _reason("\n".join(lines))
        )


def _reason(text: str) -> str:
    """Caddy's complaint without its log lines."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("{")]
    said = last_line("\n".join(lines) or text)
    return said[len("Error: ") :] if said.startswith("Error: ") else said
