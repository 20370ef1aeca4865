"""What both .NET services have: ASP.NET's configuration, Serilog's lines, and how they start and stop."""

import contextlib
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import connection_string, process
from .process import Unhandled
from .web import Request, Server

ENVIRONMENT = os.environ.get("ASPNETCORE_ENVIRONMENT") or "Production"
#: How long requests in progress are waited for.
SHUTDOWN_SECONDS = float(os.environ.get("DOTNET_SHUTDOWNTIMEOUTSECONDS") or 30)

LEVELS = ("Verbose", "Debug", "Information", "Warning", "Error", "Fatal")
_LEVEL_OF = {"debug": 1, "info": 2, "warn": 3, "error": 4}
_SHORT = ("VRB", "DBG", "INF", "WRN", "ERR", "FTL")


class Configuration:
    """Looks a value up by its path, such as "Elsa:ApiKey": appsettings files, then variables, names in any case."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        # In the image the working directory is /app.
        for name in ("appsettings.json", f"appsettings.{ENVIRONMENT}.json"):
            path = Path(name).resolve()
            if path.is_file():
                self._add(_read_json(path), "")
        for name, value in os.environ.items():
            self._values[name.replace("__", ":").lower()] = value

    def get(self, path: str, default: str = "") -> str:
        return self.given(path) or default

    def given(self, path: str) -> str | None:
        """Return what was set, if only to nothing; None when it was not."""
        return self._values.get(path.lower())

    def _add(self, tree: Any, prefix: str) -> None:
        if isinstance(tree, dict):
            for key, value in tree.items():
                self._add(value, f"{prefix}:{key}" if prefix else key)
        elif tree is not None:
            self._values[prefix.lower()] = str(tree)

    def database(self) -> dict[str, str]:
        """Return where the database is, as Npgsql understands it. Raises ValueError."""
        return connection_string.npgsql(self.get("ConnectionStrings:DefaultConnection"))

    def level(self, path: str) -> int:
        """Return the number of one of Serilog's levels."""
        wanted = self.get(path, "Information").capitalize()
        return LEVELS.index(wanted) if wanted in LEVELS else 2

    def server(self, default_port: int) -> Server:
        first = self.get("ASPNETCORE_URLS", f"http://+:{default_port}").split(";")[0]
        address = urlsplit(first.replace("//+", "//0.0.0.0").replace("//*", "//0.0.0.0"))
        server = Server(address.hostname or "0.0.0.0", address.port or 80, "/health")
        server.answered = _log_request
        return server


def start_logging(configuration: Configuration, name: str, consoles: int) -> None:
    """Write lines as Serilog does: to so many consoles at once, and to a file if it can be written.

    Only what names the first console in the settings changes it: the others are made in code.
    """
    lowest = configuration.level("Serilog:MinimumLevel:Default")
    first = "Serilog:WriteTo:0:Args:restrictedToMinimumLevel"
    least = [lowest] * consoles
    if consoles > 1 and configuration.get(first):
        least[0] = max(lowest, configuration.level(first))

    def write(level: str, message: str) -> None:
        number = _LEVEL_OF[level]
        # Local time, and no date.
        moment = datetime.now()
        line = f"[{moment:%H:%M:%S} {_SHORT[number]}] {message}\n"
        sys.stdout.write(line * sum(number >= one for one in least))
        sys.stdout.flush()
        if number >= lowest:
            _to_file(Path("logs") / f"{name}-{moment:%Y%m%d}.log", line)

    process.writer = write


def serve(server: Server) -> int:
    """Listen until the service is told to stop; what still hangs then is cut."""
    server.start()
    process.wait_for_stop()
    server.stop(SHUTDOWN_SECONDS)
    return 0


def crash_if_asked() -> None:
    if process.CRASH:
        raise Unhandled("System.InvalidOperationException: told to crash after the migration")


def _log_request(request: Request, status: int, milliseconds: float) -> None:
    process.log("info", f"HTTP {request.method} {request.path} responded {status} in {milliseconds:.4f} ms")


def _to_file(path: Path, line: str) -> None:
    """A full disk or a folder that cannot be written harms nobody."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(line)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise Unhandled(f"System.IO.InvalidDataException: Failed to load {path}: {reason}") from None
