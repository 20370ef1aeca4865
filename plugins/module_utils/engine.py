# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine's HTTP interface, which Docker and Podman share.

Reading state through the socket takes a millisecond or two and needs no parsing of tables; what
changes the stack goes through Compose (see ``compose.py``).
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import struct
import tarfile
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import quote, urlencode

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.printable import printable
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Access, access

DOCKER_SOCKET = "/var/run/docker.sock"
PODMAN_SOCKET = "/run/podman/podman.sock"

# Podman numbers its own interface apart from Docker's; every release since 4.0 knows this number.
_LIBPOD = "/v4.0.0/libpod"

# What Compose writes on everything that it makes.
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
HASH_LABEL = "com.docker.compose.config-hash"


def kind(path: str) -> str:
    """Which engine is behind a socket, by its path: "docker" or "podman"; also the name of its program."""
    return "podman" if "podman" in os.path.basename(os.path.realpath(path)) else "docker"


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a local socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """The engine behind one socket."""

    def __init__(self, path: str = DOCKER_SOCKET, timeout: float = 300) -> None:
        self.path = path
        self.kind = kind(path)
        self._timeout = timeout
        self._maps_users: Optional[bool] = None

    def _request(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, Any]] = None,
        content: Any = None,
        seconds: float = 0,
    ) -> "tuple[int, bytes]":
        """Ask the engine; *seconds*: how long it may need for its answer beyond what is usual."""
        if query:
            path += "?" + urlencode(query)
        body = None if content is None else json.dumps(content)
        headers = {} if content is None else {"Content-Type": "application/json"}
        connection = _UnixConnection(self.path, self._timeout + seconds)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise OperatorError(
                "The container engine does not answer on %s (%s): start it (systemctl start %s) and look at "
                "'journalctl -u %s' if it does not stay up." % (self.path, exc, _UNITS[self.kind], self.kind)
            ) from exc
        finally:
            connection.close()

    def _json(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, Any]] = None,
        missing_ok: bool = False,
        content: Any = None,
        seconds: float = 0,
    ) -> Any:
        status, body = self._request(method, path, query, content, seconds)
        if status == 404 and missing_ok:
            return None
        if status >= 400:
            raise OperatorError(
                "The container engine refused %s %s: %s." % (method, path, _reason(body)), status=status
            )
        try:
            return json.loads(body) if body.strip() else None
        except (ValueError, RecursionError) as exc:
            raise OperatorError(
                "The container engine answers %s %s with something else than JSON: see whose socket %s is."
                % (method, path, self.path)
            ) from exc

    def answers(self) -> bool:
        """Say whether there is an engine behind the socket."""
        try:
            return self._request("GET", "/_ping")[0] == 200
        except OperatorError:
            return False

    def is_there(self) -> bool:
        """Say whether the host has an engine; raise OperatorError when it has one that does not answer."""
        if not os.path.exists(self.path):
            return False
        self._request("GET", "/_ping")
        return True

    def containers(self, project: Optional[str] = None) -> List[Dict[str, Any]]:
        """List containers, stopped ones too: all of them, or those of one Compose project.

        One-off containers (``docker compose run``) are nobody's replica and are left out.
        """
        labels = ["com.docker.compose.oneoff=False", PROJECT_LABEL + "=" + project] if project else []
        query = {"all": "1", "filters": json.dumps({"label": labels} if labels else {})}
        found: List[Dict[str, Any]] = self._json("GET", "/containers/json", query)
        return found

    def container(self, identifier: str) -> Optional[Dict[str, Any]]:
        """Inspect a container; None when it is gone."""
        found: Optional[Dict[str, Any]] = self._json("GET", "/containers/%s/json" % identifier, missing_ok=True)
        return found

    def maps_users(self) -> bool:
        """Whether all containers have users other than those of the same number on the host (userns-remap)."""
        if self._maps_users is None:
            self._maps_users = any(
                "name=userns" in item for item in self._json("GET", "/info").get("SecurityOptions") or []
            )
        return self._maps_users

    def file(self, identifier: str, path: str) -> str:
        """A file as it is in a container, whether that runs or not; empty when it is not there, or no file."""
        status, body = self._request("GET", "/containers/%s/archive" % identifier, {"path": path})
        if status != 200:
            return ""
        try:
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                content = archive.extractfile(archive.next() or "")
                return content.read().decode("utf-8", "replace") if content else ""
        except (tarfile.TarError, KeyError):
            return ""

    def image(self, reference: str) -> Optional[Dict[str, Any]]:
        """Inspect a local image; None when the engine does not have it."""
        found: Optional[Dict[str, Any]] = self._json(
            "GET", "/images/%s/json" % quote(reference, safe="/:@"), missing_ok=True
        )
        return found

    def directory(self) -> str:
        """Where on this host the engine has its images and volumes."""
        return str(self._json("GET", "/info")["DockerRootDir"])

    def access(self) -> Access:
        """How the engine reaches registries."""
        more = self._json("GET", _LIBPOD + "/info", missing_ok=True) if self.kind == "podman" else None
        return access(self._json("GET", "/info"), more or {})

    def pull(self, reference: str) -> str:
        """Pull an image by its digest from this host itself, without TLS; return why that failed, or nothing."""
        if self.kind == "podman":
            query = {"reference": reference, "tlsVerify": "false", "quiet": "true"}
            status, body = self._request("POST", _LIBPOD + "/images/pull", query)
        else:
            name, _at, digest = reference.partition("@")
            status, body = self._request("POST", "/images/create", {"fromImage": name, "tag": digest})
        if status >= 400:
            return _reason(body)
        return next((said["error"] for said in _events(body) if said.get("error")), "")

    def layers(self) -> List[str]:
        """The layers of the images that came from a registry, by the digests of what is in them."""
        found: List[Dict[str, Any]] = self._json("GET", "/images/json")
        pulled = [self.image(item["Id"]) or {} for item in found if item.get("RepoDigests")]
        return sorted({layer for item in pulled for layer in (item.get("RootFS") or {}).get("Layers") or []})

    def volumes(self, project: str) -> List[str]:
        """List the names of a project's volumes."""
        query = {"filters": json.dumps({"label": [PROJECT_LABEL + "=" + project]})}
        return sorted(item["Name"] for item in self._json("GET", "/volumes", query)["Volumes"] or [])

    def networks(self, project: str) -> List[str]:
        """List the names of a project's networks."""
        query = {"filters": json.dumps({"label": [PROJECT_LABEL + "=" + project]})}
        return sorted(item["Name"] for item in self._json("GET", "/networks", query))

    def network_backend(self) -> str:
        """What makes Podman's networks, and its version, such as "netavark 1.14.0"; empty on Docker."""
        if self.kind != "podman":
            return ""
        host = (self._json("GET", _LIBPOD + "/info") or {}).get("host") or {}
        return str((host.get("networkBackendInfo") or {}).get("version") or "")

    def attached(self, network: str) -> List[Dict[str, Any]]:
        """List the containers in a network, whoever made them."""
        query = {"all": "1", "filters": json.dumps({"network": [network]})}
        found: List[Dict[str, Any]] = self._json("GET", "/containers/json", query)
        return found

    def logs(self, identifier: str, tail: int = 15, since: int = 0) -> List[str]:
        """Return the last lines that a container wrote (*since*: seconds of the epoch), both streams in their order."""
        query = {"stdout": "1", "stderr": "1", "tail": str(tail), "since": str(since)}
        status, body = self._request("GET", "/containers/%s/logs" % identifier, query)
        return [printable(line) for line in demultiplex(body).splitlines()] if status == 200 else []

    def run(self, image: str, argv: List[str], binds: List[str], network: str = "none") -> Tuple[int, List[str]]:
        """Run a program in a container that is thrown away; return its exit status and what it wrote.

        binds: "host path:container path[:ro]". The image must be here. Secrets belong into files among
        *binds*, never into *argv*.
        """
        identifier = self.launch(image, argv, binds, network)
        try:
            ended = self._json("POST", "/containers/%s/wait" % identifier)
            return int(ended["StatusCode"]), self.logs(identifier, 50)
        finally:
            self.discard(identifier)

    def launch(
        self,
        image: str,
        argv: Sequence[str],
        binds: Sequence[str] = (),
        network: str = "none",
        environment: Mapping[str, str] = MappingProxyType({}),
        labels: Mapping[str, str] = MappingProxyType({}),
        confined: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        """Start a program, or without *argv* what the image is for, in a container; return its id. See :meth:`run`.

        confined: what else it may not do, as the engine's HostConfig says it.
        """
        made = self._json(
            "POST",
            "/containers/create",
            content={
                "Image": image,
                **({"Entrypoint": list(argv[:1]), "Cmd": list(argv[1:])} if argv else {}),
                "Env": ["%s=%s" % pair for pair in sorted(environment.items())],
                "Labels": dict(labels),
                "HostConfig": {"Binds": list(binds), "NetworkMode": network, "Init": True, **confined},
            },
        )
        try:
            self.start_container(made["Id"])
        except OperatorError:
            self.discard(made["Id"])
            raise
        return str(made["Id"])

    def discard(self, identifier: str) -> None:
        """Kill and remove a container with its anonymous volumes."""
        self._json("DELETE", "/containers/%s" % identifier, {"force": "1", "v": "1"}, missing_ok=True)

    def labelled(self, label: str) -> List[str]:
        """The ids of all containers with a label ("key=value")."""
        query = {"all": "1", "filters": json.dumps({"label": [label]})}
        return [item["Id"] for item in self._json("GET", "/containers/json", query)]

    def probe(self, identifier: str) -> None:
        """Have Podman run a container's health check now; what comes of it stands in the next inspection.

        Podman knows no shorter interval for a container that starts: its first probe comes at once and
        the second one an interval later.
        """
        self._request("GET", "%s/containers/%s/healthcheck" % (_LIBPOD, identifier))

    def start_container(self, identifier: str) -> None:
        """Start a container; one that runs already stays as it is."""
        self._json("POST", "/containers/%s/start" % identifier)

    def stop_container(self, identifier: str, seconds: Optional[int] = None) -> None:
        """Stop a container, with *seconds* for that, or the time that it was given."""
        if seconds is None:
            given = ((self.container(identifier) or {}).get("Config") or {}).get("StopTimeout")
            query, patience = None, int(given or 0)
        else:
            query, patience = {"t": str(seconds)}, seconds
        self._json("POST", "/containers/%s/stop" % identifier, query, missing_ok=True, seconds=patience)

    def unpause_container(self, identifier: str) -> None:
        """Let a paused container go on."""
        self._json("POST", "/containers/%s/unpause" % identifier)

    def remove_container(self, identifier: str) -> None:
        """Stop a container, with the time that it was given for that, and remove it; named volumes stay."""
        if (self.container(identifier) or {}).get("State", {}).get("Paused"):
            # Podman stops none that is paused.
            self.unpause_container(identifier)
        self.stop_container(identifier)
        # By force, because the engine may have started it again meanwhile.
        self._json("DELETE", "/containers/%s" % identifier, {"v": "1", "force": "1"}, missing_ok=True)

    def tag_image(self, identifier: str, repository: str, tag: str) -> None:
        """Give a local image one more name."""
        self._json("POST", "/images/%s/tag" % identifier, {"repo": repository, "tag": tag})

    def image_names(self, repository: str) -> Dict[str, str]:
        """The local names "repository:tag" of a repository, and the id of the image behind each."""
        found: List[Dict[str, Any]] = self._json("GET", "/images/json")
        return {
            name: item["Id"]
            for item in found
            for name in item.get("RepoTags") or []
            if name.rpartition(":")[0] == repository
        }

    def untag_image(self, name: str) -> None:
        """Take a name off an image, which stays when it has another one."""
        self._json("DELETE", "/images/%s" % quote(name, safe="/:@"), missing_ok=True)

    def remove_image(self, identifier: str) -> bool:
        """Remove an image with all its names; say no when a container needs it."""
        status, body = self._request("DELETE", "/images/%s" % identifier, {"force": "0"})
        if status == 409:
            found = self.image(identifier) or {}
            users = [item for item in self.containers() if item.get("ImageID") == found.get("Id")]
            if users:
                return False
            # It is refused for its several names as well: they go one by one.
            for name in [*(found.get("RepoTags") or []), *(found.get("RepoDigests") or [])]:
                self._request("DELETE", "/images/%s" % quote(name, safe="/:@"))
            return True
        if status >= 400 and status != 404:
            raise OperatorError("The container engine refused to remove an image: %s." % _reason(body), status=status)
        return True

    def volume(self, name: str) -> str:
        """Where on this host the files of a volume are; empty if there is none of this name."""
        found = self._json("GET", "/volumes/%s" % quote(name, safe=""), missing_ok=True)
        return str((found or {}).get("Mountpoint") or "")

    def remove_network(self, name: str) -> None:
        """Remove a network that nobody is in."""
        self._json("DELETE", "/networks/%s" % quote(name, safe=""), missing_ok=True)

    def remove_volume(self, name: str) -> None:
        """Remove a volume with all its data."""
        self._json("DELETE", "/volumes/%s" % quote(name, safe=""), missing_ok=True)


def of_service(listed: List[Dict[str, Any]], service: str) -> List[Dict[str, Any]]:
    """Of listed containers those of one service."""
    return [item for item in listed if (item.get("Labels") or {}).get(SERVICE_LABEL) == service]


def addresses(inspected: Dict[str, Any]) -> List[str]:
    """The addresses of a container in all its networks."""
    return list(addresses_by_network(inspected).values())


def addresses_by_network(inspected: Dict[str, Any]) -> Dict[str, str]:
    """The address of a container in each of its networks, by the network's name."""
    networks = (inspected.get("NetworkSettings") or {}).get("Networks") or {}
    return {name: item["IPAddress"] for name, item in networks.items() if item.get("IPAddress")}


_UNITS = {"docker": "docker", "podman": "podman.socket"}


def demultiplex(stream: bytes) -> str:
    """Read a log as the engine sends it: frames of 8 bytes (stream, 000, length) and their text.

    A container with a terminal has no frames; its bytes are the text.
    """
    if stream[:1] not in (b"\0", b"\1", b"\2") or stream[1:4] != b"\0\0\0":
        return stream.decode("utf-8", "replace")
    text = []
    position = 0
    while position + 8 <= len(stream):
        (length,) = struct.unpack(">I", stream[position + 4 : position + 8])
        text.append(stream[position + 8 : position + 8 + length])
        position += 8 + length
    return b"".join(text).decode("utf-8", "replace")


def _events(body: bytes) -> List[Dict[str, Any]]:
    """What an engine tells while it works, a line each."""
    found = []
    for line in body.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            found.append(said)
    return found


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()[:200]
