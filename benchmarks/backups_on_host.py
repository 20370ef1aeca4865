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


def main() -> None:
    """Measure so many rounds as the command line says."""
    os.makedirs("/run/watch", exist_ok=True)
    with open("/run/watch/sitecustomize.py", "w") as file:
        file.write(WATCH)
    rounds = [one_round() for _ in range(int(sys.argv[1]))]
    print(json.dumps({"rounds": rounds, "growth": growth(), "bytes": rounds[0]["bytes"]}))


def one_round() -> dict[str, Any]:
    """A dump and a restore, raw and ours."""
    # So that nothing is there yet, as in the file of the raw dump.
    run(f"rm -rf {REPOSITORY} /var/cache/tamma-restic")
    found: dict[str, Any] = {"raw_dump": timed(f"{EXEC} pg_dump -Fc -U tamma tamma | cat > {VOLUME}/raw.dump")}
    seconds, said, peak = ours("backup")
    (backup,) = said["backups"]
    found |= {"backup": seconds, "read_back": backup["seconds"]["verify"], "bytes": backup["bytes"], "peak": peak}
    run(f"{EXEC} createdb -U tamma raw")
    found["raw_restore"] = timed(f"{EXEC} pg_restore -j2 -U tamma -d raw /var/lib/postgresql/data/raw.dump")
    run(f"{EXEC} dropdb -U tamma raw; rm {VOLUME}/raw.dump")
    found["restore"], said, peak = ours("restore latest --part database")
    found["away"] = said["restore"]["away_seconds"]
    found["peak"] = max(found["peak"], peak)
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
    ours("backup")
    return (size() - before) / before


def size() -> int:
    """Bytes in the repository."""
    return int(run(f"du -sb {REPOSITORY}").split()[0])


def ours(words: str) -> tuple[float, dict[str, Any], int]:
    """Seconds, result and peak memory in KiB of tammactl."""
    begin = time.monotonic()
    said = run(f"PYTHONPATH=/run/watch tammactl --json {words}")
    seconds = time.monotonic() - begin
    with open("/run/peak") as file:
        return seconds, json.loads(said), int(file.read())


def timed(script: str) -> float:
    """Seconds that a script takes."""
    begin = time.monotonic()
    run(script)
    return time.monotonic() - begin


def run(script: str) -> str:
    """What a script prints; its failure is ours."""
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], cwd=DIRECTORY, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script}: {done.stderr}")
    return done.stdout


main()
