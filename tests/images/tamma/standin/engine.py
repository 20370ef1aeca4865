"""Plays tamma-engine: registers with tamma-api again and again, and is healthy while that works."""

import os
import socket
from pathlib import Path

from . import process, typescript
from .process import log, stopping
from .remote import RemoteError, call

HEALTHY = Path("/tmp/tamma-engine-healthy")
REGISTER_SECONDS = 5.0
RETRY_SECONDS = 1.0


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
        "state": "IDLE",
    }
    HEALTHY.unlink(missing_ok=True)
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
    HEALTHY.unlink(missing_ok=True)
    try:
        call("DELETE", f"{api}/api/engines/{registration['id']}")
    except RemoteError as error:
        log("warn", f"Could not unregister: {error}")
    return 0
