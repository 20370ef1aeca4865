"""Plays tamma-engine: registers with tamma-api again and again, and is healthy while that works.

With STANDIN_ISSUE_SECONDS it works on an issue, which it finishes when it is told to stop. What became of it stands
in its log and, because a log goes with its container, in the working directory as well.
"""

import os
import socket
import time
from pathlib import Path

from . import process, typescript
from .process import log, stopping
from .remote import RemoteError, call

HEALTHY = Path("/tmp/tamma-engine-healthy")
REGISTER_SECONDS = 5.0
RETRY_SECONDS = 1.0
#: In the working directory: a line for each issue that was begun, and for each that was finished.
ISSUES = "standin-issues"


def main(_: list[str]) -> int:
    process.begin("tamma-engine")
    settings = typescript.load()
    api = os.environ.get("TAMMA_API_URL", "http://localhost:3100").rstrip("/")
    log(
        "info",
        f"Engine for {settings.owner}/{settings.repo}, model {settings.model}, approval "
        f"{settings.approval_mode}, polling every {settings.poll_interval_ms} ms in "
        f"{settings.working_directory}, labels {','.join(settings.issue_labels)}",
    )
    if not os.access(settings.working_directory, os.W_OK):
        raise process.Refusal(f"The working directory {settings.working_directory} is not writable.")
    registration = {
        "id": socket.gethostname(),
        "owner": settings.owner,
        "repo": settings.repo,
        "model": settings.model,
        "version": process.VERSION,
        "state": "WORKING" if process.ISSUE_SECONDS else "IDLE",
    }
    HEALTHY.unlink(missing_ok=True)
    issues = Path(settings.working_directory) / ISSUES
    if process.ISSUE_SECONDS:
        _note(issues, "began", registration["id"])
    registered = False
    while not stopping.is_set():
        try:
            call("POST", f"{api}/api/engines", registration)
        except RemoteError as error:
            log("warn", f"Lost tamma-api: {error}" if registered else f"No tamma-api yet: {error}")
            registered = False
            HEALTHY.unlink(missing_ok=True)
        else:
            if not registered:
                log("info", f"Registered with {api} as {registration['id']}")
            registered = True
            if not process.UNHEALTHY:
                HEALTHY.touch()
        stopping.wait(REGISTER_SECONDS if registered else RETRY_SECONDS)
    process.wait_for_stop()
    if process.ISSUE_SECONDS:
        time.sleep(process.ISSUE_SECONDS)
        _note(issues, "finished", registration["id"])
    HEALTHY.unlink(missing_ok=True)
    try:
        call("DELETE", f"{api}/api/engines/{registration['id']}")
    except RemoteError as error:
        log("warn", f"Could not unregister: {error}")
    return 0


def _note(issues: Path, what: str, identifier: str) -> None:
    log("info", f"{what.capitalize()} an issue")
    with issues.open("a") as file:
        file.write(f"{what} {identifier}\n")
