"""What every stand-in does as a process: says what it is, stops on SIGTERM, misbehaves on demand."""

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


def _asked(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0", "false")


#: Set by the image.
VERSION = os.environ.get("STANDIN_VERSION", "0.0.0")
#: Plays a release of the future: the .NET API brings migrations and takes sessions from anybody, health tells a
#: version, engines register at the API, events have numbers, streams end by themselves, and nobody is limited.
#: Today's services do nothing of that.
FUTURE = _asked("STANDIN_FUTURE")
#: Which further migrations this version brings, per schema.
MIGRATIONS: dict[str, list[str]] = json.loads(os.environ.get("STANDIN_MIGRATIONS", "{}")) if FUTURE else {}

# Set by a broken version, or by whoever wants a service to misbehave.
START_DELAY = float(os.environ.get("STANDIN_START_DELAY", "0"))
#: Answers 503 to everything for so many seconds after it began to listen.
WARM_UP = float(os.environ.get("STANDIN_WARMUP", "0"))
#: Waits so many seconds for its work to end when it is told to stop.
STOP_DELAY = float(os.environ.get("STANDIN_STOP_DELAY", "0"))
#: Never becomes healthy.
UNHEALTHY = _asked("STANDIN_UNHEALTHY")

#: Ends with an error as soon as its schema is migrated.
CRASH = _asked("STANDIN_CRASH")
#: The engine is in the middle of an issue when it is told to stop, which takes so many seconds more.
ISSUE_SECONDS = float(os.environ.get("STANDIN_ISSUE_SECONDS", "0"))

stopping = threading.Event()


class Refusal(Exception):
    """The service does not start; says why, without any secret."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Unhandled(Exception):
    """What no .NET code has caught: the runtime prints it and aborts."""


def _plain(level: str, message: str) -> None:
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(f"{moment} {level}: {message}", flush=True)


#: How a line is written; the .NET services have a way of their own.
writer: Callable[[str, str], None] = _plain


def log(level: str, message: str) -> None:
    """Write one line. level: debug, info, warn, error."""
    writer(level, message)


def abort(error: Unhandled) -> None:
    """End as .NET does: signal 6, which the first process of a container survives, to die of the next instruction."""
    print(f"Unhandled exception. {error}", file=sys.stderr, flush=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def begin(service: str) -> None:
    """Announce the service, listen to signals, and be slow if that is wanted."""
    log("info", f"{service} {VERSION}: bench stand-in, not Tamma")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if START_DELAY:
        log("warn", f"starting late by {START_DELAY:g} s, as asked")
        if stopping.wait(START_DELAY):
            sys.exit(0)


def wait_for_stop() -> None:
    """Sleep until SIGTERM, then until the work in progress is over."""
    stopping.wait()
    log("info", "Application is shutting down...")
    time.sleep(STOP_DELAY)
