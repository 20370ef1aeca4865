# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a bare host to a stack, and a second run that has nothing to do."""

from __future__ import annotations

from pathlib import Path

from tests.bench.command import BenchError
from tests.bench.hosts import Host
from tests.bench.progress import say

from . import report, sandbox
from .playbook import Play, play, remove

_USUAL = Path(__file__).parent / "usual" / "site.yml"
_COUNTS = (1, 3, 5)
#: It takes a minute and a half, and its intervals make it take the same every time.
_SEED_ROUNDS = 2

#: Goals: how much faster than the seed, how near to the lower bound, remote tasks and seconds by number of hosts.
_FASTER = 8
_NEAR = 1.3
_TASKS = 10
_SECONDS = {1: 5, 5: 10}


def bare(rounds: int) -> str:
    """From a bare host to all healthy."""
    (host,) = sandbox.up(1)
    plays: list[Play] = []
    for number in range(rounds):
        if number:
            sandbox.renew(host)
            (host,) = sandbox.up(1)
        plays.append(play("site.yml", [host]))
        say(f"bare host {number + 1}/{rounds}: all healthy after {plays[-1].seconds:.1f} s")
    runtime = [done.role_seconds("tamma_runtime") for done in plays]
    phases = {name: [done.deploy["timings"][name] for done in plays] for name in ("pull", "apply", "verify")}
    parts = [sum(split) for split in zip(runtime, *phases.values(), strict=True)]
    rest = [done.seconds - part for done, part in zip(plays, parts, strict=True)]
    rows = [
        ("**`ansible-playbook site.yml` as a whole**", plays_seconds(plays)),
        ("installing and configuring the engine", report.seconds(runtime)),
        ("pulling the images", report.seconds(phases["pull"])),
        ("starting the services until all are healthy", report.seconds(phases["apply"])),
        ("asking the published addresses", report.seconds(phases["verify"])),
        ("everything else: Ansible, preflight, plan, files", report.seconds(rest)),
    ]
    return "### Bare host to all healthy\n\n" + report.table(("step", "median (range)"), rows)


def healthy(rounds: int) -> str:
    """To all healthy where engine and images are there, but no stack and no volume."""
    (host,) = sandbox.up(1)
    play("site.yml", [host])
    ours, whole, seed, bound = [], [], [], []
    chains: list[str] = []
    for number in range(rounds):
        title = f"to all healthy {number + 1}/{rounds}:"
        remove([host])
        done = play("site.yml", [host])
        whole.append(done.seconds)
        ours.append(done.deploy["seconds"])
        say(f"{title} ours {ours[-1]:.1f} s of {whole[-1]:.1f} s for the command; {done.deploy['timings']}")
        found = sandbox.measure_on(host, "chain")
        bound.append(found["seconds"])
        chains.append(" + ".join(f"{name} {seconds:.1f}" for name, seconds in found["chain"].items()))
        say(f"{title} slowest chain {bound[-1]:.1f} s: {chains[-1]}")
        if number < _SEED_ROUNDS:
            found = sandbox.measure_on(host, "seed")
            seed.append(found["seconds"])
            say(f"{title} seed {seed[-1]:.1f} s; healthy after {found['services']}")
    play("site.yml", [host])
    faster, near = report.ratio(seed, ours), report.ratio(ours, bound)
    rows = [
        ("`docker compose up -d`, the seed's health checks", report.seconds(seed), "", ""),
        ("**`tamma_deploy`, the whole task**", report.seconds(ours), f"{faster:.1f} × faster", f"{_FASTER} × faster"),
        ("the slowest chain's own readiness", report.seconds(bound), f"ours is {near:.2f} ×", f"ours ≤ {_NEAR} ×"),
        ("`ansible-playbook site.yml` as a whole", report.seconds(whole), "", ""),
    ]
    return (
        "### To all healthy: engine and images there, stack and volumes removed\n\n"
        + report.table(("way", "median (range)", "ratio", "goal"), rows)
        + f"\n\nThe slowest chain, last measured: {chains[-1]} s."
    )


def unchanged(rounds: int) -> str:
    """A second run that has nothing to do, ours and the usual way."""
    hosts = sandbox.up(max(_COUNTS))
    say(f"unchanged: bringing {len(hosts)} hosts up our way")
    play("site.yml", hosts)
    ours = {count: again("ours", "site.yml", hosts[:count], rounds) for count in _COUNTS}
    say(f"unchanged: bringing {len(hosts)} hosts up the usual way")
    remove(hosts)
    play(_USUAL, hosts)
    usual = {count: again("usual way", _USUAL, hosts[:count], rounds) for count in _COUNTS}
    rows = []
    for count in _COUNTS:
        mine, other = ours[count], usual[count]
        faster = report.ratio([done.seconds for done in other], [done.seconds for done in mine])
        goal = [f"≤ {_SECONDS[count]} s"] if count in _SECONDS else []
        rows.append(
            (
                count,
                plays_seconds(mine),
                mine[0].remote_tasks,
                mine[0].visits,
                ", ".join([*goal, f"≤ {_TASKS} tasks"]),
                plays_seconds(other),
                other[0].remote_tasks,
                other[0].visits,
                f"{faster:.1f} ×",
            )
        )
    usual_head = ("the usual way", "remote tasks", "visits", "ours is faster")
    head = ("hosts", "ours", "remote tasks", "visits", "goal", *usual_head)
    return (
        "### A second, unchanged run of the whole playbook\n\n"
        + report.table(head, rows)
        + "\n\nTasks and visits of one host. A remote task executed something on the host; a visit is one such command."
    )


def again(way: str, playbook: str | Path, hosts: list[Host], rounds: int) -> list[Play]:
    """Run what has nothing to do any more, and insist that it does nothing."""
    plays = [play(playbook, hosts) for _ in range(rounds)]
    for done in plays:
        if done.changed:
            names = sorted({task["name"] for task in done.tasks if task["changed"]})
            raise BenchError(f"{way}: a second run changed something: {', '.join(names)}.")
    say(f"unchanged, {len(hosts)} host(s), {way}: {plays_seconds(plays)}, {plays[0].remote_tasks} remote tasks a host")
    return plays


def plays_seconds(plays: list[Play]) -> str:
    """The median of whole runs."""
    return report.seconds([done.seconds for done in plays])
