"""The same services as containers, with what production has: their image's user, no capabilities, a read-only root.

Which images is told by the environment: CONTRACT_ELSA_IMAGE, CONTRACT_API_DOTNET_IMAGE, CONTRACT_TAMMA_API_IMAGE and
CONTRACT_TAMMA_ENGINE_IMAGE. Otherwise it is the bench's stand-in. The containers have this machine's network, where
the database, GitHub and everybody else listen for the cases.
"""

from __future__ import annotations

import json
import os
import secrets
from functools import cache
from pathlib import Path

from tests.bench import engine, images
from tests.bench.command import docker, one_at_a_time
from tests.bench.machine import free_port
from tests.bench.names import LABEL

from .processes import HEALTH, Driver, Service

STANDINS = {
    "ELSA": "tamma-elsa",
    "API_DOTNET": "tamma-api-dotnet",
    "TAMMA_API": "tamma-api",
    "TAMMA_ENGINE": "tamma-engine",
}
#: Users of the published images.
UIDS = {"ELSA": 999, "API_DOTNET": 999, "TAMMA": 1001}
#: What cannot be played in a container, below tests/contract, and why. Five at most.
NOT_PLAYED: dict[str, str] = {}
assert len(NOT_PLAYED) <= 5


class Container(Service):
    """`docker run` in the foreground: its signals, its output and its status are those of the container."""

    name = ""

    def kill(self) -> None:
        super().kill()
        docker("rm", "--force", self.name, check=False)


class Containers(Driver):
    """Starts one kind of service as often as a case wants; `end` ends what is left."""

    #: The first process of a container survives signal 6, and dies of the next instruction.
    aborted = 139

    def __init__(self, kind: str, settings: dict[str, str]) -> None:
        super().__init__(kind, settings, UIDS[kind])

    def _prepare(self) -> None:
        pass

    def start(
        self,
        *,
        read_only: bool = False,
        volume: Path | None = None,
        logs: str = "16m",
        arguments: str = "",
        hosts: Path | None = None,
        programs: Path | None = None,
        **settings: str | None,
    ) -> Container:
        """Start one. See `processes.Driver.start`; files have the same paths inside as outside."""
        port, name = free_port(), f"tamma-bench-contract-{secrets.token_hex(6)}"
        image = _image({"server": "TAMMA_API", "start": "TAMMA_ENGINE"}.get(arguments.partition(" ")[0], self._kind))
        words, own = _described(image)
        temporary = self._shared()
        environment: dict[str, str | None] = {"ASPNETCORE_URLS": f"http://127.0.0.1:{port}"}
        if programs:
            environment["PATH"] = f"{programs}:{own['PATH']}"
        if self._kind == "TAMMA":
            # Its directory is that of its program, which belongs to root.
            environment["TAMMA_WORKING_DIRECTORY"] = str(self.volume())
        environment |= {**self._settings, **settings}
        options = [f"--env={key}={value}" for key, value in environment.items() if value is not None]
        options += [f"--volume={self._directory}:{self._directory}", f"--volume={temporary}:/tmp"]
        if read_only:
            options += ["--read-only", f"--tmpfs=/app/logs:mode=1777,size={logs}"]
        elif self._kind == "ELSA" and not volume:
            volume = self.volume()
        if volume:
            options.append(f"--volume={volume}:/app/App_Data")
        if hosts:
            options.append(f"--volume={hosts}:/etc/hosts:ro")
        command = [
            *("docker", "run", "--rm", "--name", name, "--label", f"{LABEL}=contract", "--log-driver=none"),
            *("--network=host", "--cap-drop=ALL", "--security-opt=no-new-privileges", *options, image),
            *(words if arguments else ()),
            *arguments.format(port=port).split(),
        ]
        process, log = self._run(command, dict(os.environ))
        service = Container(process, f"http://127.0.0.1:{port}", HEALTH[self._kind], log, temporary)
        service.name = name
        self._begun.append(service)
        return service

    def _shared(self) -> Path:
        """Make a directory that everybody may write into."""
        found = self.folder()
        found.chmod(0o1777)
        return found


def _image(service: str) -> str:
    return os.environ.get(f"CONTRACT_{service}_IMAGE", "") or _standin(STANDINS[service])


@cache
def _standin(name: str) -> str:
    with one_at_a_time():
        engine.ensure()
        images.build([name])
    return images.tag(name)


@cache
def _described(image: str) -> tuple[list[str], dict[str, str]]:
    """Return an image's command, without the words that say which service it is, and its environment."""
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image))
    words = list(config.get("Cmd") or [])
    ends = [number for number, word in enumerate(words) if word in ("server", "start")]
    return words[: ends[0]] if ends else words, dict(line.split("=", 1) for line in config["Env"])
