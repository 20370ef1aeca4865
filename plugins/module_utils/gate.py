# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health gate: when a container counts as ready, and when waiting for it is pointless."""

from __future__ import annotations

import calendar
import time
from typing import Any, Dict, NamedTuple, Optional

# A container without a health check is ready when it has run this long without a restart.
SETTLE_SECONDS = 3.0

# A container that ended this often while we watched will not come up by waiting longer.
CRASH_LIMIT = 3


class State(NamedTuple):
    """What the engine says about one container.

    status: created, running, restarting, exited, … health: starting, healthy, unhealthy, or None
    without a health check. uptime: seconds since its last start. will_restart: by the engine, after
    it ended. detail: the last probe's output
    or the engine's own error.
    """

    id: str
    service: str
    name: str
    status: str
    health: Optional[str]
    restarts: int
    uptime: float
    exit_code: int
    will_restart: bool
    detail: str


class Verdict(NamedTuple):
    """The gate's answer: ready, waiting or failed; and what the container is doing, in words."""

    outcome: str
    words: str


# What an exit status tells that does not say so by itself.
_MEANINGS = {
    134: "it aborted: .NET found an exception that nobody caught, and the log says which",
    137: "it was killed: it did not stop in time, or needed more memory than its limit",
    139: "it aborted: as the first process of a container .NET ends so of an exception that nobody caught, and the log "
    "says which",
}


def meaning(exit_code: int) -> str:
    """What an exit status means, as a sentence behind another; nothing for one that needs no words."""
    return " Exit status %d: %s." % (exit_code, _MEANINGS[exit_code]) if exit_code in _MEANINGS else ""


def state(inspected: Dict[str, Any], service: str, now: Optional[float] = None) -> State:
    """Read what the engine's inspection says; *now* is the host's clock, in seconds."""
    current = inspected["State"]
    # Podman calls it Healthcheck, and shows an empty one where there is none.
    health = current.get("Health") or current.get("Healthcheck") or {}
    probes = health.get("Log") or []
    status = health.get("Status") or None
    policy = ((inspected.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"
    return State(
        id=inspected["Id"],
        service=service,
        name=inspected.get("Name", "").lstrip("/"),
        status=current.get("Status", "unknown"),
        health=None if status == "none" else status,
        restarts=inspected.get("RestartCount", 0),
        uptime=max(0.0, (time.time() if now is None else now) - started_at(inspected)),
        exit_code=current.get("ExitCode", 0),
        will_restart=policy in ("always", "unless-stopped")
        or (policy == "on-failure" and current.get("ExitCode") != 0),
        detail=str(current.get("Error") or (probes[-1].get("Output", "") if probes else "")).strip(),
    )


def started_at(inspected: Dict[str, Any]) -> float:
    """When the container was last started, in seconds since 1970; 0 when never."""
    text = inspected["State"].get("StartedAt", "")[:19]
    try:
        return float(max(0, calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))))
    except ValueError:
        return 0.0


def judge(seen: State, restarts_before: int = 0) -> Verdict:
    """Decide about one container; *restarts_before* is its count when the watch began."""
    crashes = seen.restarts - restarts_before
    if crashes >= CRASH_LIMIT:
        # Podman forgets the status as soon as the container runs again.
        last = ", last with exit status %d" % seen.exit_code if seen.exit_code else ""
        return Verdict("failed", "it ended %d times%s%s" % (crashes, last, _in_brackets(seen.exit_code)))
    if seen.status == "exited" and not seen.will_restart:
        if seen.exit_code == 0:
            return Verdict("ready", "it has done its work")
        return Verdict("failed", "it ended with exit status %d%s" % (seen.exit_code, _in_brackets(seen.exit_code)))
    if seen.status != "running":
        return Verdict("waiting", "it is " + seen.status)
    if seen.health is not None:
        return Verdict("ready" if seen.health == "healthy" else "waiting", "its health check says " + seen.health)
    if seen.uptime < SETTLE_SECONDS:
        return Verdict("waiting", "it has no health check and has just been started")
    return Verdict("ready", "it runs (it has no health check)")


def _in_brackets(exit_code: int) -> str:
    return " (%s)" % _MEANINGS[exit_code] if exit_code in _MEANINGS else ""
