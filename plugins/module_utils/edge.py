# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: which containers get requests, and how its configuration changes while it serves.

Caddy is told the names of containers that are healthy, never the name of a service: behind that the
engine would send requests to containers that are starting or stopping.
"""

from __future__ import annotations

import glob
import os
from typing import Dict, Iterable, List, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, fingerprint, read, write

# On the edge itself: the path of its configuration in the container. On others: the port for requests.
CONFIG_LABEL = "tamma.edge-config"
PORT_LABEL = "tamma.edge-port"

# What the edge's directory holds, below the project directory, and what of it the edge has loaded.
DIRECTORY = "edge"
UPSTREAMS = DIRECTORY + "/upstreams"
_LOADED = ".tamma/edge-loaded"

_RELOAD_SECONDS = 60


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
        self._service = service(project)
        self._ports = routed(project)

    @property
    def routed(self) -> Dict[str, str]:
        """The services behind this edge, and the port of each."""
        return self._ports

    def names(self, name: str) -> List[str]:
        """The containers that get a service's requests now."""
        line = (read(self._path(name)) or "").split()[1:]
        return sorted(item.rpartition(":")[0] for item in line)

    def route(self, name: str, containers: Iterable[str]) -> bool:
        """Send a service's requests to *containers* from now on; say whether anything changed."""
        # Without any, requests wait for one: the name is looked up at each of them.
        text = upstreams(list(containers) or [name], self._ports[name])
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
        done = self._compose.run(
            *("exec", "-T", self._service.name, "caddy", "reload", "--force"),
            *("--config", self._service.labels[CONFIG_LABEL], "--adapter", "caddyfile"),
            timeout=_RELOAD_SECONDS,
        )
        if done.rc:
            raise OperatorError(
                "The edge refuses its new configuration and goes on with the former one: %s." % _reason(done.err),
                rc=done.rc,
            )
        self.mark(mark)

    def mark(self, loaded_hash: str = "") -> None:
        """Remember what the edge has loaded: what is there, for one that was just started."""
        text = loaded_hash or fingerprint(_present(self._directory, DIRECTORY))
        write(self._directory, [File(_LOADED, text + "\n", 0o600)])

    def is_current(self, files: Iterable[File]) -> bool:
        """Say whether the edge has loaded what *files* and the upstreams on the host say."""
        return loaded(self._directory) == wanted(files, self._directory)


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
