# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host, with its Python alone: finds texts in every file, and in what the processes show.

Reads {name: [spellings]} from its standard input, so that it shows none of them itself, and writes
where each name was found. Engines' layers, records and logs are files like any other.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys

# What keeps files; an overlay shows the layers of an engine once more, but for the one that the host itself is on.
KINDS = ("btrfs", "ext2", "ext3", "ext4", "ramfs", "tmpfs", "xfs")
SPELLINGS = "/dev/shm/hunted-spellings"


def mounts(process: str) -> list[tuple[str, str]]:
    """Where a process sees which kind of file system."""
    with open(f"/proc/{process}/mountinfo", encoding="utf-8") as lines:
        parts = [line.split(" - ") for line in lines]
    return [(before.split()[4], after.split()[0]) for before, after in parts]


def search(directories: list[str], hunted: dict[str, list[bytes]]) -> dict[str, list[str]]:
    """The files below *directories* in which something was found, without crossing into other file systems."""
    find = ["find", *directories, "-xdev", "-type", "f", "-not", "-path", SPELLINGS]
    grep = [
        "-exec",
        "grep",
        "--files-with-matches",
        "--text",
        "--fixed-strings",
        "--file",
        SPELLINGS,
        "--null",
        "{}",
        "+",
    ]
    # Files come and go meanwhile, hence the exit status is not looked at.
    paths = subprocess.run([*find, *grep], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    found = {}
    for path in filter(None, paths.decode().split("\0")):
        with open(path, "rb") as file:
            found[path] = named(file.read(), hunted)
    return found


def anybody_reads(path: str) -> bool:
    """Whether a user without any rights can open a file, the directories on its way considered."""
    test = ["test", "-r", path]
    return subprocess.run(test, user=65534, group=65534, extra_groups=[], check=False).returncode == 0


def named(content: bytes, hunted: dict[str, list[bytes]]) -> list[str]:
    return sorted(name for name, spellings in hunted.items() if any(spelling in content for spelling in spellings))


def in_processes(what: str, hunted: dict[str, list[bytes]]) -> dict[str, list[str]]:
    """What /proc/<process>/<what> shows, by the name of the program."""
    found: dict[str, list[str]] = {}
    for path in glob.glob(f"/proc/[0-9]*/{what}"):
        try:
            with open(path, "rb") as file:
                names = named(file.read(), hunted)
            with open(os.path.join(os.path.dirname(path), "comm"), encoding="utf-8") as file:
                program = file.read().strip()
        except OSError:
            continue  # it has ended
        if names:
            found[program] = sorted({*found.get(program, []), *names})
    return found


def in_memory_of_containers(hunted: dict[str, list[bytes]]) -> dict[str, list[str]]:
    """The same for the file systems that containers have in memory, by container and path."""
    listed = subprocess.run(["docker", "ps", "--quiet"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    form = '{{.State.Pid}} {{index .Config.Labels "com.docker.compose.service"}}'
    shown = subprocess.run(["docker", "inspect", "--format", form, *listed], stdout=subprocess.PIPE, check=True).stdout
    found = {}
    for process, service in (line.split() for line in shown.decode().splitlines()):
        root = f"/proc/{process}/root"
        directories = [root + where for where, kind in mounts(process) if kind == "tmpfs" and not _is_masked(where)]
        for path, names in search(directories, hunted).items() if directories else ():
            found[service + ":" + path[len(root) :]] = names
    return found


def _is_masked(where: str) -> bool:
    return where.startswith(("/proc/", "/sys/"))


def main() -> None:
    hunted = {name: [text.encode() for text in texts] for name, texts in json.load(sys.stdin).items()}
    with open(os.open(SPELLINGS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(b"\n".join(text for texts in hunted.values() for text in texts) + b"\n")
    try:
        here = [where for where, kind in mounts("self") if where == "/" or kind in KINDS]
        files = search([where for where in here if not _is_masked(where)], hunted)
        found = {
            "files": files,
            "modes": {path: f"{os.stat(path).st_mode & 0o7777:04o}" for path in files},
            "open": [path for path in files if anybody_reads(path)],
            "memory": in_memory_of_containers(hunted),
            "arguments": in_processes("cmdline", hunted),
            "environments": in_processes("environ", hunted),
        }
    finally:
        os.unlink(SPELLINGS)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
