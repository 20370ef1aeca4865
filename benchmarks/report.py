# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers for people: medians with their spread, ratios, tables in Markdown."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.bench.hosts import Host

from . import sandbox


def seconds(values: Sequence[float]) -> str:
    """The median, and in brackets between what the values lie."""
    text = f"{statistics.median(values):.1f} s"
    return text + (f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else "")


def milliseconds(values: Sequence[float]) -> str:
    """The same of what is short."""
    text = f"{1000 * statistics.median(values):.0f} ms"
    return text + (f" ({1000 * min(values):.0f} to {1000 * max(values):.0f})" if len(values) > 1 else "")


def counts(values: Sequence[float]) -> str:
    """How many in all, and in brackets how many each time."""
    text = f"{sum(values):.0f}"
    return text + (f" ({', '.join(f'{value:.0f}' for value in values)})" if len(values) > 1 else "")


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times longer one takes than the other."""
    return statistics.median(slow) / statistics.median(fast)


def turns_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The same of two that took turns: what else the machine did then, it did to both."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, aligned for those who read it as it is."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def surroundings(host: Host) -> str:
    """What the numbers depend on: this machine, and the versions on both sides."""
    asked = "docker version --format {{.Server.Version}}; docker compose version --short; python3 --version"
    engine, compose, python = sandbox.ask(host, asked).splitlines()
    model = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Controller and hosts share {len(os.sched_getaffinity(0))} cores ({next(iter(model), 'of an unknown model')}) "
        f"and {memory:.0f} GiB. ansible-core {version('ansible-core')}; on the hosts Docker Engine {engine}, Compose "
        f"{compose}, {python}. Stand-ins play the Tamma services; PostgreSQL, RabbitMQ and nginx are real."
    )


def load() -> str:
    """How busy the machine was of late: other work beside the benchmark makes its numbers worse."""
    return "{:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg())
