"""The two Debian systems that everything is built on: pulled when possible, else made here."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from . import machine
from .command import BenchError, docker, run
from .names import LABEL

SECONDS_TO_PULL = 60
LEFT_OUT = (
    "./dev/*",
    "./proc/*",
    "./sys/*",
    "./usr/share/doc/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
)


def image(release: str) -> str:
    """Return the name of the image that holds a bare Debian release."""
    return f"tamma-bench/rootfs:{release}"


def make(release: str) -> None:
    """Pull a bare Debian release, or make it with debootstrap."""
    if _can_pull():
        docker("pull", "--quiet", f"debian:{release}-slim")
        docker("tag", f"debian:{release}-slim", image(release))
        return
    with tempfile.TemporaryDirectory(prefix="tamma-bench-") as work:
        root = Path(work) / "root"
        archive, _ = machine.mirrors()
        run(["debootstrap", "--variant=minbase", "--include=ca-certificates", release, root, archive])
        _import(root, image(release))


def prepare(releases: list[str]) -> None:
    """Fetch what `make` needs, once, before several of them run side by side."""
    if releases and not _can_pull() and not shutil.which("debootstrap"):
        machine.install("debootstrap")


@cache
def _can_pull() -> bool:
    """Try once whether a registry with Debian's images can be reached."""
    try:
        argv = ["docker", "pull", "--quiet", "debian:trixie-slim"]
        return run(argv, check=False, timeout=SECONDS_TO_PULL).returncode == 0
    except BenchError:
        return False


def _import(root: Path, name: str) -> None:
    """Turn a directory into an image, without what a container does not need."""
    excludes = [f"--exclude={pattern}" for pattern in LEFT_OUT]
    tar = subprocess.Popen(["tar", "-C", root, *excludes, "-c", "."], stdout=subprocess.PIPE)
    label = f"LABEL {LABEL}=image"
    imported = subprocess.run(
        ["docker", "import", "--change", label, "-", name],
        stdin=tar.stdout,
        capture_output=True,
        check=False,
        text=True,
    )
    if tar.wait() != 0 or imported.returncode != 0:
        raise BenchError(f"Importing {name} failed: {imported.stderr.strip()}")
