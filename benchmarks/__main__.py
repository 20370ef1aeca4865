# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable

from tests.bench import hosts
from tests.bench.command import BenchError
from tests.bench.names import cache_dir
from tests.bench.progress import say

from . import backups, deploys, report, sandbox, updates
from .playbook import log_file

#: What is measured, in this order; each leaves its hosts ready for the next.
PARTS: dict[str, Callable[..., str]] = {
    "bare": deploys.bare,
    "healthy": deploys.healthy,
    "updates": updates.updates,
    "under_load": updates.under_load,
    "backups": backups.backups,
    "unchanged": deploys.unchanged,
}


def main() -> int:
    """Measure what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 10), default=3, metavar="N", help="measure so often (default: 3)"
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--mebibytes",
        type=int,
        default=backups.MEBIBYTES,
        metavar="N",
        help=f"to back up and restore (default: {backups.MEBIBYTES})",
    )
    arguments = parser.parse_args()
    # A killed benchmark takes its hosts along, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measure(arguments.only, arguments.rounds, arguments.mebibytes)
    except BenchError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        sandbox.down()
    return 0


def measure(parts: list[str], rounds: int, mebibytes: int) -> None:
    """Run the parts one after another on the same hosts, then print everything together."""
    begin, busy = time.monotonic(), report.load()
    say(f"What Ansible prints goes to {log_file()}.")
    log_file().unlink(missing_ok=True)
    sandbox.down()
    more = {"backups": (mebibytes,)}
    sections = [PARTS[part](rounds, *more.get(part, ())) for part in PARTS if part in parts]
    minutes = (time.monotonic() - begin) / 60
    sections.append(report.surroundings(hosts.existing(sandbox.NAME)[0]))
    sections.append(
        f"Medians of {rounds}, {minutes:.0f} minutes in all; load average of the last 1, 5 and 15 minutes {busy} "
        f"before and {report.load()} afterwards."
    )
    text = "\n\n".join(["## Benchmark", *sections]) + "\n"
    (cache_dir() / "benchmark.md").write_text(text)
    say("\n" + text)


if __name__ == "__main__":
    sys.exit(main())
