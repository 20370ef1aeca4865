"""Prints what a host is made of, as a JSON list: packages, files with their times, open ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys

TREES = ("/etc", "/opt", "/usr/local", "/var/lib", "/var/cache/apt", "/srv")
# systemd writes its own notes there at any time.
SKIPPED = {"/var/lib/systemd"}
# Podman writes here whenever it is asked something; what it makes has entries of its own below.
STORAGE = "/var/lib/containers/storage"
NOTES = {STORAGE, f"{STORAGE}/overlay", f"{STORAGE}/storage.lock", f"{STORAGE}/db.sql"}
LISTEN = "0A"


def packages() -> list[str]:
    for command in (["dpkg-query", "-W", "-f", "${Package} ${Version}\n"], ["rpm", "-qa"]):
        try:
            listing = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
        except FileNotFoundError:
            continue
        return [f"package {line}" for line in listing.splitlines()]
    sys.exit("neither dpkg-query nor rpm is there")


def files() -> list[str]:
    found = []
    for tree in TREES:
        for directory, below, names in os.walk(tree):
            below[:] = [name for name in below if os.path.join(directory, name) not in SKIPPED]
            for name in [*below, *names]:
                path = os.path.join(directory, name)
                if path in NOTES:
                    continue
                try:
                    status = os.lstat(path)
                except FileNotFoundError:
                    continue
                found.append(f"file {path} {status.st_mode:o} {status.st_uid} {status.st_mtime_ns}")
    return found


def ports() -> list[str]:
    found = set()
    for protocol in ("tcp", "tcp6"):
        with open(f"/proc/net/{protocol}", encoding="ascii") as table:
            for line in list(table)[1:]:
                fields = line.split()
                if fields[3] == LISTEN:
                    found.add(f"port {protocol} {int(fields[1].rpartition(':')[2], 16)}")
    return sorted(found)


if __name__ == "__main__":
    print(json.dumps(sorted(packages() + files() + ports())))
