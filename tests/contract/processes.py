"""Services as plain processes below a directory that plays /app: read-only where a case says so, without capabilities.

Who plays them is told by the environment, in command lines: CONTRACT_ELSA, CONTRACT_API_DOTNET and CONTRACT_TAMMA,
with a folder of files for /app in CONTRACT_ELSA_FILES and CONTRACT_API_DOTNET_FILES. Otherwise it is the stand-in.
The same cases run against images: see `containers.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.machine import free_port
from tests.bench.names import IMAGE_SOURCES

from .asking import Reply, ask, until

#: The user of the published .NET images.
UID = 999
STANDIN = IMAGE_SOURCES / "tamma" / "standin"
#: Debian's own Python, which has its packages.
PYTHON = "/usr/bin/python3"
COMMANDS = {
    "ELSA": f"{PYTHON} -m standin Tamma.ElsaServer.dll",
    "API_DOTNET": f"{PYTHON} -m standin Tamma.Api.dll",
    "TAMMA": f"{PYTHON} -m standin",
}
HEALTH = {"ELSA": "/health", "API_DOTNET": "/health", "TAMMA": "/api/health"}

#: What Compose's `read_only: true` does, with a tmpfs for the logs, and with a volume.
READ_ONLY = """
mount --bind "$APP" "$APP"
mkdir -p "$APP/logs" "$APP/App_Data"
mount -t tmpfs -o mode=1777,size=$LOGS logs "$APP/logs"
[ -z "$VOLUME" ] && rmdir "$APP/App_Data" || mount --bind "$VOLUME" "$APP/App_Data"
mount -o remount,bind,ro "$APP"
"""


class Ended(NamedTuple):
    status: int
    seconds: float


class Service:
    """A process that runs, or did."""

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, health: str, log: Path, temporary: Path = Path("/tmp")
    ) -> None:
        self._process, self.url, self._health, self._log = process, url, health, log
        #: An engine is healthy while it is there.
        self.healthy = temporary / "tamma-engine-healthy"

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def ask(self, path: str, method: str = "GET", data: Any = None, **more: Any) -> Reply:
        return ask(self.url + path, method, data, **more)

    def health(self, status: int = 200, seconds: float = 30) -> Service:
        """Wait until its health answers so."""
        found: list[int] = []

        def answered() -> bool:
            found[:] = [ask(self.url + self._health, seconds=5).status]
            return found == [status] or not self.running

        until(answered, seconds)
        assert found == [status], f"{found} instead of {status}:\n{self.log[-3000:]}"
        return self

    def ended(self, seconds: float = 60) -> int:
        """Return the exit status as a shell shows it."""
        status = self._process.wait(seconds)
        return 128 - status if status < 0 else status

    def stop(self, seconds: float = 60) -> Ended:
        began = time.monotonic()
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        return Ended(self.ended(seconds), time.monotonic() - began)

    def kill(self, seconds: float = 60) -> None:
        """End it whatever it does. One that the kernel keeps is told of instead of being waited for without end."""
        self._process.kill()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            tasks = sorted(Path(f"/proc/{self._process.pid}/task").glob("*/stack"))
            where = "\n".join(f"{task.parent.name}:\n{task.read_text()}" for task in tasks)
            warnings.warn(f"{self._process.args} was killed {seconds} s ago and is there:\n{where}", stacklevel=2)


class Driver:
    """Starts one kind of service as often as a case wants; `end` ends what is left."""

    #: The exit status of a .NET service that aborts.
    aborted = 134

    def __init__(self, kind: str, settings: dict[str, str], uid: int = UID) -> None:
        self._kind, self._settings, self.uid = kind, settings, uid
        self._directory = Path(tempfile.mkdtemp(prefix="contract-"))
        self._directory.chmod(0o755)
        self._begun: list[Service] = []
        self._prepare()

    def _prepare(self) -> None:
        self._command = os.environ.get(f"CONTRACT_{self._kind}", "")
        self._standin = not self._command
        if self._standin:
            self._command = COMMANDS[self._kind]
            # Where its user can read it.
            shutil.copytree(STANDIN, self._directory / "standin", ignore=shutil.ignore_patterns("__pycache__"))
            subprocess.run(["chmod", "-R", "a+rX", self._directory / "standin"], check=True)

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
    ) -> Service:
        """Start one. Settings are environment variables, None leaves one out.

        volume: at /app/App_Data of a read-only /app. logs: how much room there is for its logs there.
        arguments: of the program, with {port}. hosts: plays /etc/hosts. programs: comes first on the PATH.
        """
        app, port = self._directory / f"app{len(self._begun)}", free_port()
        files = os.environ.get(f"CONTRACT_{self._kind}_FILES", "")
        shutil.copytree(files, app) if files else app.mkdir()
        subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", app], check=True)
        environment: dict[str, str | None] = {
            "PATH": f"{programs}:{os.environ['PATH']}" if programs else os.environ["PATH"],
            "HOME": "/nonexistent",
            "PYTHONPATH": str(self._directory) if self._standin else None,
            "PYTHONDONTWRITEBYTECODE": "1" if self._standin else None,
            "APP": str(app),
            "VOLUME": str(volume or ""),
            "LOGS": logs,
            "ASPNETCORE_URLS": f"http://127.0.0.1:{port}",
            **self._settings,
            **settings,
        }
        script = "set -e\n" + (f"mount --bind {hosts} /etc/hosts\n" if hosts else "")
        script += (READ_ONLY if read_only else "") + 'cd "$APP"\nexec setpriv --bounding-set=-all --inh-caps=-all'
        script += f" --no-new-privs --clear-groups --reuid={self.uid} --regid={self.uid} {self._command} "
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script + arguments.format(port=port)]
        process, log = self._run(command, {name: value for name, value in environment.items() if value is not None})
        service = Service(process, f"http://127.0.0.1:{port}", HEALTH[self._kind], log)
        self._begun.append(service)
        return service

    def _run(self, command: Sequence[str | Path], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
        """Begin a process; return it, and the file with all that it says."""
        log = self._directory / f"log{len(self._begun)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        return process, log

    def volume(self) -> Path:
        found = self.folder()
        os.chown(found, self.uid, self.uid)
        return found

    def folder(self) -> Path:
        """Make a directory that its user can read."""
        found = Path(tempfile.mkdtemp(dir=self._directory))
        found.chmod(0o755)
        return found

    def end(self) -> None:
        for service in self._begun:
            if service.running:
                service.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
