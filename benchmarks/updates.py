# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another version in the place of the present one: how long it takes, and what those notice who use the stack."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import data
from tests.bench.command import BenchError
from tests.bench.hosts import Host
from tests.bench.load import Load
from tests.bench.names import container_name
from tests.bench.progress import say

from . import report, sandbox
from .playbook import play, remove

_SEED = Path(__file__).parent / "usual" / "update.sh"
_RAW = "sed -i 's/^TAMMA_VERSION=.*/TAMMA_VERSION={}/' .env && docker compose pull && docker compose up --detach --wait"
#: What a database holds before each update.
_MEBIBYTES = 24
#: What a production stack is put under.
_LOAD: dict[str, Any] = {"rate": 50, "streams": 50, "writes": 10, "reconnect": 0}
#: Seconds that a replaced container has for its streams: the default would add 7 s to the hold. And how far the last
#: answer of the old version may lie back when it begins, because that is asked for a few times a second.
_DRAIN = 3
# How long streams go on after the last request that went the same way, and how exactly that is seen.
_STREAMS, _SLACK = 2, 1
_HELD = re.compile(r"connections waited or came through, ([\d.]+) s in all")


def updates(rounds: int) -> str:
    """An update without an edge, by the playbook, on the host, and by Compose alone; and the way back."""
    (host,) = sandbox.up(1)
    old, new = "0.1.0", "0.2.0"
    took: dict[str, list[float]] = {}

    def note(name: str, version: str, do: Callable[[], object]) -> None:
        begin = time.monotonic()
        do()
        took.setdefault(name, []).append(time.monotonic() - begin)
        insist(host, version)
        say(f"updates: {name} {took[name][-1]:.1f} s")

    for _ in range(rounds):
        renew(host, old, new)
        unpin(host, old)
        note("raw", new, lambda: on(host, _RAW.format(new)))
        renew(host, old, new)
        note("on_host", new, lambda: on(host, f"tammactl update {new}"))
        note("back_on_host", old, lambda: on(host, "tammactl rollback --yes"))
        renew(host, old, new)
        note("playbook", new, lambda: update(host, new))
        note("back", old, lambda: play("playbooks/rollback.yml", [host], *variables(tamma_stack_version=new)))
    remove([host])

    def row(title: str, name: str) -> tuple[str, str, str]:
        ratio = "" if name == "raw" else f"{report.turns_ratio(took[name], took['raw']):.2f} ×"
        return title, report.seconds(took[name]), ratio

    rows = [
        row("`docker compose pull && docker compose up -d --wait`", "raw"),
        row("**`tammactl update`, on the host**", "on_host"),
        row("**`ansible-playbook update.yml` as a whole**", "playbook"),
        row("`tammactl rollback`, with the database", "back_on_host"),
        row("`ansible-playbook rollback.yml` as a whole, with the database", "back"),
    ]
    return (
        f"### Update {old} → {new}, development profile, no edge\n\n"
        + report.table(("way", "median (range)", "beside raw"), rows)
        + f"\n\nThe ways take turns, each on a stack made anew with {_MEBIBYTES} MiB of generated data, without the "
        "new images; a ratio is the median of the turns' own. Raw waits as well until every container is healthy, by "
        "the same health checks; it copies no database, searches no log for a failed migration, asks no "
        "published address."
    )


def under_load(rounds: int) -> str:
    """An update of a production stack that is used, by the playbook and by the seed's script."""
    (host,) = sandbox.up(1)
    old, new = "0.2.0", "0.3.5-slow"
    settings = {"tamma_stack_profile": "production", "tamma_stack_edge_drain": _DRAIN}
    ours, seed = [], []
    for _ in range(rounds):
        renew(host, old, new, **settings)
        ours.append(one_under_load(host, old, new, lambda: update(host, new, **settings)))
        say(f"under load: ours {ours[-1]}")
        renew(host, old, new, **settings)
        unpin(host, old)
        seed.append(one_under_load(host, old, new, lambda: seeds_update(host, new)))
        say(f"under load: the seed's {seed[-1]}")
    remove([host])

    def row(title: str, name: str, form: Callable[[list[float]], str]) -> tuple[str, ...]:
        return title, *(form([one[name] for one in turns]) for turns in (ours, seed))

    rows = [
        row("seconds of the whole", "seconds", report.seconds),
        row("requests", "requests", report.counts),
        row("of them failed", "failed", report.counts),
        row("rows to write", "rows", report.counts),
        row("of them acknowledged", "acknowledged", report.counts),
        row("acknowledged and lost", "lost", report.counts),
        row("longest request that was answered", "longest", report.seconds),
        row("99 % of them within", "p99", report.seconds),
        row("50 % of them within", "p50", report.milliseconds),
        row("requests held at the edge for", "held", report.seconds),
        row("no answer of tamma-api for", "silent", report.seconds),
        row(f"streams cut within {_STREAMS} s after the old version's last answer", "cut at once", report.counts),
        row("streams cut later", "cut later", report.counts),
        row("a cut stream was open again within", "longest until open again", report.seconds),
        row("streams not open again at the end", "closed", report.counts),
    ]
    return (
        f"### Update {old} → {new} under load, production profile behind the edge\n\n"
        + report.table(("what", "`update.yml`", "the seed's script"), rows)
        + f"\n\n{_LOAD['rate']} requests/s, {_LOAD['streams']} streams of events and {_LOAD['writes']} rows/s written "
        "through the API, from this machine; a request counts from the moment it was due. Both take turns, each on a "
        f"stack made anew with {_MEBIBYTES} MiB of generated data, without the new images. The seed's script is "
        "`benchmarks/usual/update.sh`, which sleeps for 30 s in any case; stack, health checks and edge are the "
        f"collection's on both sides. Ours cuts streams {_STREAMS} s after that, before their container stops; "
        "requests wait meanwhile."
    )


def one_under_load(host: Host, old: str, new: str, do: Callable[[], float]) -> dict[str, float]:
    """Put a stack under load, update it, and say what became of the load; *do* returns how long requests were held."""
    with Load(sandbox.edge(host), **_LOAD) as load:
        begin = time.monotonic()
        held = do()
        seconds = time.monotonic() - begin
    say(load.report())
    insist(host, new)
    found = data.ask(container_name(sandbox.NAME, host.name), load.rows)
    left = load.versions[old][1]
    later = sum(end.second > left + _STREAMS - _SLACK for end in load.ends)
    return {
        **load.measured(),
        "seconds": seconds,
        "held": held,
        "lost": len(load.missing(found)),
        "silent": load.versions[new][0] - left,
        "cut later": later,
        "cut at once": load.cuts - later,
        "closed": sum(end.again is None for end in load.ends),
    }


def update(host: Host, version: str, **settings: object) -> float:
    """Update by the playbook; return how long requests were held."""
    done = play("playbooks/update.yml", [host], *variables(tamma_stack_version=version, **settings))
    return sum(map(float, _HELD.findall(done.output)))


def seeds_update(host: Host, version: str) -> float:
    """Update by the seed's script, which holds no request."""
    sandbox.ask(host, "cat > /run/update.sh", data=_SEED.read_bytes())
    on(host, f"bash /run/update.sh {version}")
    return 0


def insist(host: Host, version: str) -> None:
    """Stop when Tamma's services have not become those of a version."""
    running = set(sandbox.ask(host, "docker ps --format '{{.Label \"org.opencontainers.image.version\"}}'").split())
    if running != {version}:
        raise BenchError(f"Version {version} should run, but there is: {', '.join(sorted(running)) or 'none'}.")


def renew(host: Host, version: str, without: str, **settings: object) -> None:
    """Deploy a version with new volumes and some data; the images of another one are not there."""
    remove([host])
    play("site.yml", [host], *variables(tamma_stack_version=version, **settings))
    images = f"docker image ls --quiet --filter label=org.opencontainers.image.version={without}"
    sandbox.ask(host, f"{images} | sort --unique | xargs --no-run-if-empty docker image rm --force")
    data.generate(container_name(sandbox.NAME, host.name), _MEBIBYTES)


def unpin(host: Host, version: str) -> None:
    """Let the images of Tamma's services be those of TAMMA_VERSION again, as they are without a release."""
    on(host, f"sed -i 's/:{re.escape(version)}@[^\"]*/:${{TAMMA_VERSION}}/' docker-compose.images.yml")


def on(host: Host, script: str) -> str:
    """What a script prints that runs in the stack's directory."""
    return sandbox.ask(host, f"cd /opt/tamma && {script}")


def variables(**values: object) -> tuple[str, str]:
    """Variables for a playbook."""
    return "--extra-vars", json.dumps(values)
