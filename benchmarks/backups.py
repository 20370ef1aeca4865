# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup and restore, beside the programs that they use."""

from __future__ import annotations

import json

from tests.bench import data
from tests.bench.names import container_name
from tests.bench.progress import say

from . import report, sandbox
from .playbook import play

#: How much is backed up. Goals: how fast beside the raw programs, seconds without service, MiB, growth.
MEBIBYTES = 1024
_DUMP = 2
_RESTORE = 0.8
_AWAY = 5
_PEAK = 64
_GROWTH = 0.1


def backups(rounds: int, mebibytes: int) -> str:
    """Backup and restore of a gibibyte, beside the programs that they use."""
    (host,) = sandbox.up(1)
    # By hand alone: no timer shall come between.
    settings = {"tamma_backup_password": "throw-away", "tamma_backup_schedule": {}}
    play("site.yml", [host], "--extra-vars", json.dumps(settings))
    say(f"backups: generating {mebibytes} MiB")
    data.generate(container_name(sandbox.NAME, host.name), mebibytes)
    found = sandbox.backups_on(host, rounds)
    turns = {name: [one[name] for one in found["rounds"]] for name in found["rounds"][0]}
    turns["unread"] = [whole - part for whole, part in zip(turns["backup"], turns["read_back"], strict=True)]

    def row(title: str, name: str, raw: str = "", goal: str = "") -> tuple[str, ...]:
        work = turns.get(name + "_work", [])
        return (
            title,
            report.seconds(turns[name]),
            f"{report.turns_ratio(turns[raw], turns[name]):.2f} ×" if raw else "",
            goal,
            report.seconds(work) if work else "",
            f"{report.turns_ratio(turns[raw + '_work'], work):.2f} ×" if raw and work else "",
        )

    share = report.turns_ratio(turns["read_back"], turns["backup"])
    rows = [
        row("`pg_dump -Fc \\| cat`", "raw_dump"),
        row("**backup, read back**", "backup", "raw_dump", f"≥ {_DUMP} ×"),
        row("of it everything but the reading back", "unread", "raw_dump"),
        row(f"of it the reading back, {share:.0%}", "read_back"),
        row("`pg_restore -j2`", "raw_restore"),
        row("**restore, analysed, compared, swapped in**", "restore", "raw_restore", f"≥ {_RESTORE} ×"),
        row("of it filling the new database", "fill", "raw_restore"),
        row("of it without service", "away", goal=f"< {_AWAY} s"),
        ("our own process at its peak", f"{max(turns['peak']) / 1024:.0f} MiB", "", f"< {_PEAK} MiB", "", ""),
        ("growth by a backup after 1 % more rows", f"{found['growth']:.1%}", "", f"< {_GROWTH:.0%}", "", ""),
    ]
    head = ("what", "median (range)", "as fast as raw", "goal", "CPU of the whole host", "CPU, raw by ours")
    return (
        f"### Backup and restore of {found['bytes'] / 2**30:.2f} GiB\n\n"
        + report.table(head, rows)
        + "\n\nAn uncompressed archive has that size; it is text of made-up words. Raw and ours take turns; a ratio is "
        "the median of the turns' own. The repository lies on the same disk. What the stack's services use of the "
        "processor when nothing is done is not counted. On a machine with other work, CPU says more than time."
    )
