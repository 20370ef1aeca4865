# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host, where SSH takes no part in what is measured: ``on_host.py seed|chain OVERLAY``.

The stack's directory is there, with the files that the role wrote; the stack itself is removed
first, volumes included. Prints JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

DIRECTORY = "/opt/tamma"
PROBE_EVERY = 0.05
LOOK_EVERY = 0.2
LIMIT = 400
STARTED = "service_started"


def main() -> None:
    """Measure what the command line names."""
    what, overlay = sys.argv[1:]
    print(json.dumps(seed(overlay) if what == "seed" else chain()))


def seed(overlay: str) -> dict[str, Any]:
    """`docker compose up -d` with the seed's health checks, until every container is healthy."""
    environment = {**os.environ, "COMPOSE_FILE": setting("COMPOSE_FILE") + ":" + overlay}
    services = json.loads(run("docker compose config --format json", environment))["services"]
    run("docker compose down --volumes --timeout 0")
    healthy: dict[str, float] = {}
    begin = time.monotonic()
    with open("/run/seed-up.log", "wb") as log:
        up = subprocess.Popen(
            ["docker", "compose", "up", "--detach"], cwd=DIRECTORY, env=environment, stdout=log, stderr=log
        )
    while len(healthy) < len(services) or up.poll() is None:
        seconds = time.monotonic() - begin
        listing = run("docker ps --filter health=healthy --format {{.Names}}")
        for name in services:
            if any(f"-{name}-" in line for line in listing.split()):
                healthy.setdefault(name, round(seconds, 2))
        if up.poll() or seconds > LIMIT:
            with open("/run/seed-up.log") as log:
                sys.exit(f"Healthy after {seconds:.0f} s: {', '.join(healthy) or 'none'}.\n{log.read()}")
        time.sleep(LOOK_EVERY)
    run("docker compose down --volumes --timeout 0")
    return {"seconds": max(healthy.values()), "services": healthy}


def chain() -> dict[str, Any]:
    """Start each chain of dependencies by hand, the next service the moment the one before is ready.

    Nothing else starts meanwhile: what the chain needs beside itself is ready before it begins. No way of starting
    the stack can be faster than the slowest of the chains.
    """
    services = json.loads(run("docker compose config --format json"))["services"]
    timed = []
    for names in chains(services):
        run("docker compose down --volumes --timeout 0")
        run("docker compose create")
        beside: list[str] = []
        for name in names:
            before(name, services, beside)
        for name in beside:
            if name not in names:
                ready(name)
        timed.append({name: ready(name) for name in names})
    run("docker compose down --volumes --timeout 0")
    slowest = max(timed, key=lambda chain: sum(chain.values()))
    return {"seconds": sum(slowest.values()), "chain": slowest}


def chains(services: dict[str, Any]) -> list[list[str]]:
    """Every way from a service that waits for nobody to one that nobody waits for."""
    waits_for = {
        name: [other for other, how in (service.get("depends_on") or {}).items() if how["condition"] != STARTED]
        for name, service in services.items()
    }

    def ways(name: str) -> list[list[str]]:
        return [[*way, name] for other in waits_for[name] for way in ways(other)] or [[name]]

    found = [way for name in services for way in ways(name)]
    return [way for way in found if not any(set(way) < set(other) for other in found)]


def before(name: str, services: dict[str, Any], found: list[str]) -> None:
    """Add what a service needs, in the order in which it has to start."""
    for other in services[name].get("depends_on") or {}:
        if other not in found:
            before(other, services, found)
            found.append(other)


def ready(name: str) -> float:
    """Seconds from starting a service until its own health check succeeds."""
    container = run("docker compose ps --all --quiet " + name)
    begin = time.monotonic()
    run("docker start " + container)
    found = json.loads(run("docker inspect " + container))[0]
    network = next(iter(found["NetworkSettings"]["Networks"].values()))
    kind, *test = found["Config"]["Healthcheck"]["Test"]
    url = re.search(r"http://127\.0\.0\.1(:\d+\S*)", " ".join(test))
    # RabbitMQ's tools leave a cookie for its server when they come first, and the server cannot read one of root's.
    user = ["--user", "rabbitmq"] if "rabbitmq-diagnostics" in " ".join(test) else []
    command = ["docker", "exec", *user, container, *(["sh", "-c", *test] if kind == "CMD-SHELL" else test)]
    while not (answers("http://" + network["IPAddress"] + url[1]) if url else quiet(command)):
        if time.monotonic() - begin > LIMIT:
            sys.exit(f"{name} was not ready after {LIMIT} s.")
        time.sleep(PROBE_EVERY)
    return round(time.monotonic() - begin, 2)


def answers(url: str) -> bool:
    """Whether an address answers without an error."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, urllib.error.HTTPError):
        return False


def quiet(command: list[str]) -> bool:
    """Whether a command succeeds."""
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def run(command: str, environment: dict[str, str] | None = None) -> str:
    """What a command prints; its failure is ours."""
    done = subprocess.run(command.split(), cwd=DIRECTORY, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout.strip()


def setting(name: str) -> str:
    """A value of the stack's `.env`."""
    with open(DIRECTORY + "/.env") as lines:
        (value,) = (line.partition("=")[2].strip().strip("'\"") for line in lines if line.startswith(name + "="))
    return value


main()
