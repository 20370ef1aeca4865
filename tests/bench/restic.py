"""restic for this machine: Debian 13's program, taken out of its package and installed nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from . import images
from .command import docker
from .names import cache_dir

UNPACK = "cd /tmp && apt-get update -qq && apt-get download -qq restic && dpkg-deb --extract restic_*.deb ."


def directory() -> Path:
    """Return the directory that holds the program, which is fetched when it is missing; needs the bench's images."""
    target = cache_dir() / "restic"
    if not (target / "restic").exists():
        target.mkdir(exist_ok=True)
        # Its place is taken at once or not at all.
        script = f"{UNPACK} && mv usr/bin/restic /out/.restic"
        docker("run", "--rm", "--volume", f"{target}:/out", images.tag("debian-13"), "sh", "-c", script)
        os.rename(target / ".restic", target / "restic")
    return target
