"""What every stand-in does as a process: says what it is, stops on SIGTERM, misbehaves on demand."""

import json
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime

#: Set by the image.
VERSION = os.environ.get("STANDIN_VERSION", "0.0.0")
#: Which migrations this version brings, per schema.
MIGRATIONS: dict[str, list[str]] = json.loads(os.environ.get("STANDIN_MIGRATIONS", "{}"))

# Set by a broken version, or by whoever wants a service to misbehave.
START_DELAY = float(os.environ.get("STANDIN_START_DELAY", "0"))
#: Answers 503 to everything for so many seconds after it began to listen.
WARM_UP = float(os.environ.get("STANDIN_WARMUP", "0"))
#: Waits so many seconds for its work to end when it is told to stop.
STOP_DELAY = float(os.environ.get("STANDIN_STOP_DELAY", "0"))
#: Never becomes healthy.
UNHEALTHY = os.environ.get("STANDIN_UNHEALTHY", "") not in ("", "0", "false")

#: Ends with an error as soon as its schema is migrated.
CRASH = os.environ.get("STANDIN_CRASH", "") not in ("", "0", "false")
#: The engine is in the middle of an issue when it is told to stop, which takes so many seconds more.
ISSUE_SECONDS = float(os.environ.get("STANDIN_ISSUE_SECONDS", "0"))

#: A .NET process that ends with an unhandled exception aborts.
DOTNET_ABORT = 134

stopping = threading.Event()


class Refusal(Exception):
    """The service does not start; says why, without any secret."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def log(level: str, message: str) -> None:
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(f"{moment} {level}: {message}", flush=True)


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
    log("info", "stopping")
    time.sleep(STOP_DELAY)
