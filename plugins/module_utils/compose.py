# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Compose: what the stack is, and the commands that change it.

Compose is asked what a project means (``config``); nothing here knows a service by name.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

# Where the docker client looks for its plugins, in its order.
_PLUGIN_DIRECTORIES = (
    "/root/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)

VERIFY_LABEL = "tamma.verify"
VERIFY_NAME_LABEL = "tamma.verify-name"

EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - recognised here, never bound


class Port(NamedTuple):
    """A published TCP or UDP port. An empty address means every address of the host."""

    address: str
    published: int
    target: int
    protocol: str


class Service(NamedTuple):
    """A service as Compose understands it, reduced to what the operator acts upon.

    depends_on: service name → condition (service_started, service_healthy or
    service_completed_successfully). volumes: full names. config_hash: what Compose writes on the
    containers.
    """

    name: str
    image: str
    replicas: int
    depends_on: Dict[str, str]
    ports: List[Port]
    volumes: List[str]
    labels: Dict[str, str]
    config_hash: str
    restart: str = "no"


class Project(NamedTuple):
    """A project: its services, and the full names of its volumes."""

    name: str
    services: Dict[str, Service]
    volumes: List[str]


def find_compose() -> Optional[str]:
    """Return the path of the Compose v2 program, which runs alone as well as behind ``docker``."""
    for directory in _PLUGIN_DIRECTORIES:
        path = os.path.join(directory, "docker-compose")
        if os.access(path, os.X_OK):
            return path
    return None


# A container that is gone, or is just going, is no reason to fail so often.
_GONE = ("no such container", "is already in progress")
_TRIES = 3


class Compose:
    """Compose on one project directory.

    Without *files* Compose reads the directory's own ``.env``, as it does for somebody who types
    the command there; with *files* it reads those and *env_file*, as if they were in place.
    """

    def __init__(
        self,
        runner: Runner,
        program: str,
        directory: str,
        project: str,
        files: Optional[List[str]] = None,
        env_file: Optional[str] = None,
    ) -> None:
        self._runner = runner
        self._directory = directory
        self._argv = [program, "--project-name", project]
        if files is not None:
            self._argv += ["--project-directory", directory]
        for name in files or []:
            self._argv += ["-f", name]
        if env_file:
            self._argv += ["--env-file", env_file]

    def run(self, *arguments: str, stdin: Optional[str] = None, timeout: Optional[float] = None) -> Result:
        """Run a Compose command whatever its exit status."""
        cwd = self._directory if os.path.isdir(self._directory) else None
        return self._runner.run([*self._argv, *arguments], cwd=cwd, stdin=stdin, timeout=timeout)

    def project(self) -> Project:
        """Read the project. Raises OperatorError when Compose does not accept it."""
        shown = self._config("--format", "json")
        return parse_project(json.loads(shown), parse_hashes(self._config("--hash", "*")))

    def outline(self) -> Project:
        """The same without the hashes, which Compose takes as long for again."""
        return parse_project(json.loads(self._config("--format", "json")), {})

    def _config(self, *options: str) -> str:
        shown = self.run("config", *options, timeout=60)
        if shown.rc == 0:
            return shown.out
        raise OperatorError(
            "Docker Compose does not accept the stack's files: %s. If tamma_stack_overrides or tamma_stack_environment "
            "is set, look there first." % complaint(shown.err),
            rc=shown.rc,
        )

    def variables(self) -> Dict[str, Dict[str, str]]:
        """Read what each service finds in its environment: service → variable → value."""
        return parse_variables(json.loads(self._config("--format", "json")))

    def pull(self, service: str) -> Result:
        """Pull the image of one service."""
        return self.run("pull", "--quiet", service)

    def add(self, service: str, total: int) -> Result:
        """Create and start containers of *service* beside those that exist, until there are *total*."""
        return self._up("--detach", "--no-recreate", "--scale", "%s=%d" % (service, total), service)

    def up(self, services: List[str], start: bool = True) -> Result:
        """Create or recreate what differs of *services* and of what they depend on, and start them.

        There is no ``--no-deps`` here: before 2.27 it changes the hash on the containers, so that the
        next ``up`` by hand would recreate them. The caller brings the dependencies up first.
        """
        how = "--detach" if start else "--no-start"
        return self._up(how, *services)

    def _up(self, *arguments: str) -> Result:
        """Run ``up``; again when a container was gone, or about to go, that Compose had just listed.

        It looks at those of all services, and others are replaced at the same time.
        """
        left = _TRIES
        while True:
            done = self.run("up", "--no-build", "--pull", "never", *arguments)
            left -= 1
            if done.rc == 0 or not left or not any(words in done.err.lower() for words in _GONE):
                return done

    def down(self) -> Result:
        """Stop and remove the project's containers and networks; volumes stay."""
        return self.run("down", "--remove-orphans")


def parse_variables(config: Dict[str, Any]) -> Dict[str, Dict[str, str]]:
    """Read the services' environment from ``config --format json``, which doubles each dollar sign."""
    return {
        name: {
            key: str(value).replace("$$", "$")
            for key, value in (service.get("environment") or {}).items()
            if value is not None
        }
        for name, service in (config.get("services") or {}).items()
    }


def parse_hashes(text: str) -> Dict[str, str]:
    """Read ``config --hash '*'``: a service and its hash on each line."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def parse_project(config: Dict[str, Any], hashes: Dict[str, str]) -> Project:
    """Read ``config --format json``."""
    names = {
        key: (volume or {}).get("name", "%s_%s" % (config["name"], key))
        for key, volume in (config.get("volumes") or {}).items()
    }
    services = {}
    for name, service in (config.get("services") or {}).items():
        replicas = (service.get("deploy") or {}).get("replicas")
        services[name] = Service(
            name=name,
            image=service.get("image") or "%s-%s" % (config["name"], name),
            replicas=service.get("scale", 1) if replicas is None else replicas,
            depends_on={
                other: (how or {}).get("condition", "service_started")
                for other, how in (service.get("depends_on") or {}).items()
            },
            ports=[port for entry in service.get("ports") or [] for port in _ports(entry)],
            volumes=[
                names[mount["source"]]
                for mount in service.get("volumes") or []
                if mount.get("type") == "volume" and mount.get("source") in names
            ],
            labels=dict(service.get("labels") or {}),
            config_hash=hashes.get(name, ""),
            restart=(service.get("restart") or "no").partition(":")[0],
        )
    return Project(config["name"], services, sorted(names.values()))


def _ports(entry: Dict[str, Any]) -> List[Port]:
    """A port, or each port of a range; one without a fixed published port is not ours to watch."""
    first, dash, last = str(entry.get("published") or "").partition("-")
    if not first:
        return []
    return [
        Port(entry.get("host_ip", ""), number, int(entry["target"]), entry.get("protocol", "tcp"))
        for number in range(int(first), int(last if dash else first) + 1)
    ]


class Endpoint(NamedTuple):
    """A published address that proves a service; *at* is the address to ask instead of the URL's name."""

    url: str
    service: str
    at: str = ""


def endpoints(service: Service) -> List[Endpoint]:
    """The published addresses that prove a service, from its ``tamma.verify`` label.

    With a ``tamma.verify-name`` they are asked with TLS, under that name.
    """
    found = []
    name = service.labels.get(VERIFY_NAME_LABEL, "")
    for check in service.labels.get(VERIFY_LABEL, "").split():
        target, _slash, path = check.partition("/")
        for port in service.ports:
            if str(port.target) == target and port.protocol == "tcp":
                address = port.address if port.address not in EVERY_ADDRESS else "127.0.0.1"
                if name:
                    url = "https://%s%s/%s" % (name, "" if port.published == 443 else ":%d" % port.published, path)
                    found.append(Endpoint(url, service.name, address))
                else:
                    host = "[%s]" % address if ":" in address else address
                    found.append(Endpoint("http://%s:%d/%s" % (host, port.published, path), service.name))
    return found


def complaint(text: str) -> str:
    """What Compose complains about, on one line: all that it wrote but its warnings."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and " level=warning " not in line]
    # Of a broken line in .env Compose quotes the value.
    lines = [re.sub(r"(\.env: line \d+: [^\"']*).*", r"\1", line).strip() for line in lines]
    return " ".join(lines).rstrip(".") or "it said nothing"


def last_line(text: str) -> str:
    """The last line that says something, without Compose's own decoration and full stop."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    logged = re.match(r'time="[^"]*" level=\w+ msg=(?:"(.*)"|(.*))$', lines[-1])
    line = (logged.group(1) or logged.group(2) or "") if logged else lines[-1]
    return line.rstrip(".")


# The first that fits counts: a refused name lookup says "permission denied" as well.
_PULL_FAILURES = (
    (
        re.compile(r"no matching manifest|no match for platform", re.I),
        "The image {image} does not exist for this host's processor architecture.",
    ),
    (
        re.compile(r"manifest unknown|manifest for .* not found|no such manifest|: not found", re.I),
        "The registry has no image {image}: check tamma_stack_version and the image's name.",
    ),
    (
        re.compile(r"HTTP response to HTTPS client", re.I),
        (
            "The registry {registry} speaks plain HTTP, which the engine refuses: give it TLS, or name it in "
            "tamma_runtime_insecure_registries if nobody else can reach that network."
        ),
    ),
    (
        re.compile(
            r"dial tcp|no such host|connection refused|i/o timeout|network is unreachable|no route to host"
            r"|deadline exceeded|Client\.Timeout|TLS handshake|connection reset|x509|unexpected EOF",
            re.I,
        ),
        (
            "The registry {registry} cannot be reached from this host: check its name in tamma_stack_registry, name "
            "resolution, the firewall and its certificate."
        ),
    ),
    (
        re.compile(r"unauthorized|denied|authentication required|no basic auth", re.I),
        (
            "The registry refused the login for {image}: name an account of {registry} that may read it in "
            "tamma_stack_registry_logins, or correct the image's name."
        ),
    ),
    (
        re.compile(r"no space left on device", re.I),
        (
            "The disk of the engine is full: free space below its data directory (docker or podman 'system df' shows "
            "what uses it)."
        ),
    ),
)


def registry_of(image: str) -> str:
    """The registry that an image reference names; Docker Hub when it names none."""
    first, slash, _rest = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def explain_pull_failures(failed: Dict[str, str]) -> List[str]:
    """Turn what Compose said about failed pulls (image → its standard error) into sentences, one for each cause."""
    causes: Dict[Tuple[str, str], List[str]] = {}
    for image, stderr in sorted(failed.items()):
        cause = "The image {image} cannot be pulled: " + last_line(stderr).replace("{", "{{").replace("}", "}}") + "."
        for pattern, sentence in _PULL_FAILURES:
            if pattern.search(stderr):
                cause = sentence
                break
        causes.setdefault((cause, registry_of(image)), []).append(image)
    return [
        cause.format(image=", ".join(images), registry=registry) for (cause, registry), images in sorted(causes.items())
    ]
