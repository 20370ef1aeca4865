# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host with a stack, data and an empty repository: ours beside the raw programs, in turns. Prints JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

DIRECTORY = "/opt/tamma"
REPOSITORY = "/var/backups/tamma"
PASSWORD = "/etc/tamma/tamma/repository-local.password"
VOLUME = "/var/lib/docker/volumes/tamma_tamma-pg-data/_data"
EXEC = "docker compose exec -T postgres "
#: Writes the greatest memory of a Python process itself, without its children, when it ends.
WATCH = """
import atexit, resource, sys
def tell():
    if sys.argv[0].endswith("tammactl"):
        open("/run/peak", "w").write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
atexit.register(tell)
"""
#: The processor's time of everything on this host: nanoseconds, or a line of them all in microseconds.
USED, USED_2 = "/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu.stat"
LOOK_SECONDS = 5
IDLE: list[float] = [0.0]


def main() -> None:
    """Measure so many rounds as the command line says."""
    os.makedirs("/run/watch", exist_ok=True)
    with open("/run/watch/sitecustomize.py", "w") as file:
        file.write(WATCH)
    before = used()
    time.sleep(LOOK_SECONDS)
    IDLE[0] = (used() - before) / LOOK_SECONDS
    rounds = [one_round() for _ in range(int(sys.argv[1]))]
    print(json.dumps({"rounds": rounds, "growth": growth(), "bytes": rounds[0]["bytes"]}))


def one_round() -> dict[str, Any]:
    """A dump and a restore, raw and ours."""
    # So that nothing is there yet, as in the file of the raw dump. A repository is made once in its life.
    run(f"rm -rf {REPOSITORY} /var/cache/tamma-restic; restic init -r {REPOSITORY} -p {PASSWORD}")
    found: dict[str, Any] = {}
    measured(found, "raw_dump", f"{EXEC} pg_dump -Fc -U tamma tamma | cat > {VOLUME}/raw.dump")
    said = ours(found, "backup", "backup")
    (backup,) = said["backups"]
    found |= {"read_back": backup["seconds"]["verify"], "bytes": backup["bytes"]}
    run(f"{EXEC} createdb -U tamma raw")
    measured(found, "raw_restore", f"{EXEC} pg_restore -j2 -U tamma -d raw /var/lib/postgresql/data/raw.dump")
    run(f"{EXEC} dropdb -U tamma raw; rm {VOLUME}/raw.dump")
    said = ours(found, "restore", "restore latest --part database")
    found |= {"fill": said["restore"]["fill_seconds"], "away": said["restore"]["away_seconds"]}
    run(f"{EXEC} dropdb -U tamma {said['restore']['kept_as']}")
    return found


def growth() -> float:
    """By which part of itself a repository with one backup grows with another one after a hundredth more rows."""
    before = size()
    more = (
        "INSERT INTO load.messages (written, kind, amount, body) SELECT written, kind, amount, md5(body) || body "
        "FROM load.messages ORDER BY id LIMIT (SELECT count(*) / 100 FROM load.messages)"
    )
    run(f'{EXEC} psql -qXU tamma -d tamma -c "{more}"')
    ours({}, "backup", "backup")
    return (size() - before) / before


def size() -> int:
    """Bytes in the repository."""
    return int(run(f"du -sb {REPOSITORY}").split()[0])


def ours(found: dict[str, Any], name: str, words: str) -> dict[str, Any]:
    """Note what tammactl takes, and its greatest memory so far, in KiB; return its result."""
    said: dict[str, Any] = json.loads(measured(found, name, f"PYTHONPATH=/run/watch tammactl --json {words}"))
    with open("/run/peak") as file:
        found["peak"] = max(found.get("peak", 0), int(file.read()))
    return said


def measured(found: dict[str, Any], name: str, script: str) -> str:
    """Note the seconds that a script takes, and the processor's; return what it prints."""
    begin, before = time.monotonic(), used()
    said = run(script)
    found[name] = time.monotonic() - begin
    found[name + "_work"] = used() - before - IDLE[0] * found[name]
    return said


def used() -> float:
    """Seconds of the processors that this host has used."""
    if os.path.exists(USED):
        with open(USED) as file:
            return int(file.read()) / 1e9
    with open(USED_2) as file:
        return int(file.readline().split()[1]) / 1e6


def run(script: str) -> str:
    """What a script prints; its failure is ours."""
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], cwd=DIRECTORY, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script}: {done.stderr}")
    return done.stdout


main()
