"""Building the bench's images: only those whose inputs changed, side by side where possible."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache

from . import machine, rootfs
from .command import BenchError, docker
from .names import IMAGE_SOURCES, LABEL
from .progress import Progress, say

#: A build is mostly unpacking packages: more at a time than cores gains nothing.
BUILDS_AT_ONCE = 2

Context = dict[str, tuple[bytes, int]]
"""Path in the build context -> content and permissions."""


@dataclass(frozen=True)
class Image:
    """One image: a folder below tests/images, built on a parent."""

    title: str
    folder: str
    #: Another image of this table, or the code name of a Debian release.
    parent: str
    target: str = ""
    #: Build arguments, "NAME=value".
    arguments: tuple[str, ...] = ()


IMAGES: dict[str, Image] = {
    "debian-13": Image("Debian 13 base", "base", "trixie"),
    "debian-12": Image("Debian 12 base", "base", "bookworm"),
    "host": Image("sandbox host (systemd, SSH)", "host", "debian-13"),
    "registry": Image("registry", "registry", "debian-12"),
    "postgres": Image("PostgreSQL 15", "postgres", "debian-12"),
    "postgres-17": Image("PostgreSQL 17", "postgres", "debian-13", arguments=("VERSION=17",)),
    "rabbitmq": Image("RabbitMQ 3", "rabbitmq", "debian-12"),
    "caddy": Image("Caddy 2", "caddy", "debian-12"),
    "tamma-elsa": Image("ELSA server stand-in", "tamma", "debian-12", "tamma-elsa"),
    "tamma-api-dotnet": Image(".NET API stand-in", "tamma", "debian-12", "tamma-api-dotnet"),
    "tamma-api": Image("Tamma API stand-in", "tamma", "debian-12", "tamma-api"),
    "tamma-engine": Image("engine stand-in", "tamma", "debian-12", "tamma-engine"),
    "tamma-dashboard": Image("dashboard (nginx)", "dashboard", "debian-12"),
    "browser": Image("browser (Chromium)", "browser", "debian-12"),
    "acme": Image("ACME server (Pebble)", "acme", "debian-12"),
}
#: No part of a sandbox: made when a test wants one.
ON_DEMAND = {"browser", "acme", "postgres-17"}


def tag(name: str) -> str:
    """Return the full name of an image: its tag is the hash of everything it is made of."""
    return f"tamma-bench/{name}:{_digest(name)}"


def build(names: Iterable[str] | None = None) -> None:
    """Build the named images (all of a sandbox by default) and their parents, as far as they are missing."""
    wanted = _with_parents([name for name in IMAGES if name not in ON_DEMAND] if names is None else names)
    here = present()
    missing = [name for name in wanted if tag(name) not in here]
    releases = [
        parent for name in missing if (parent := IMAGES[name].parent) not in IMAGES and rootfs.image(parent) not in here
    ]
    if not missing:
        return
    say(f"Building {len(missing)} of the bench's images, from Debian packages.")
    rootfs.prepare(releases)
    _build_side_by_side(missing, releases, Progress(len(missing) + len(releases)))


def remove() -> None:
    """Remove every image that the bench made."""
    here = present()
    if here:
        docker("image", "rm", "-f", *here)


def context_hash(context: Context, *more: str) -> str:
    """Return a short hash of a build context, independent of order and of dates."""
    digest = hashlib.sha256()
    for path, (content, mode) in sorted(context.items()):
        digest.update(f"{path}\0{mode:o}\0{len(content)}\0".encode() + content)
    digest.update("\0".join(more).encode())
    return digest.hexdigest()[:12]


@cache
def _context(folder: str, parent: str) -> Context:
    """Collect what an image is built from: its folder, and what this machine adds."""
    source = IMAGE_SOURCES / folder
    context: Context = {
        str(path.relative_to(source)): (path.read_bytes(), path.stat().st_mode & 0o755 | 0o644)
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if folder == "base":
        context["apt.conf"] = machine.apt_settings().encode(), 0o644
        context["debian.sources"] = machine.apt_sources(parent).encode(), 0o644
    if folder == "host":
        context["certificates/.keep"] = b"", 0o644
        for certificate in machine.certificates():
            context[f"certificates/{certificate.name}"] = certificate.read_bytes(), 0o644
    return context


@cache
def _digest(name: str) -> str:
    image = IMAGES[name]
    parent = tag(image.parent) if image.parent in IMAGES else image.parent
    return context_hash(_context(image.folder, image.parent), parent, image.target, *image.arguments)


def _with_parents(names: Iterable[str]) -> list[str]:
    """Return the names and all that they are built on, parents first."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name in IMAGES and name not in ordered:
            visit(IMAGES[name].parent)
            ordered.append(name)

    for name in names:
        if name not in IMAGES:
            raise BenchError(f"There is no image {name!r}; there are: {', '.join(IMAGES)}.")
        visit(name)
    return ordered


def present() -> set[str]:
    """Return the bench's images that the engine has."""
    listing = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "tamma-bench/*")
    return set(listing.splitlines())


def _build_side_by_side(names: list[str], releases: list[str], progress: Progress) -> None:
    """Build every image as soon as its parent is there."""
    waiting = [*releases, *names]
    running: dict[Future[None], str] = {}

    def work(name: str) -> None:
        with progress.step(IMAGES[name].title if name in IMAGES else f"Debian ({name}) packages"):
            _build_one(name) if name in IMAGES else rootfs.make(name)

    with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
        while waiting or running:
            unfinished = {*waiting, *running.values()}
            for name in list(waiting):
                parent = IMAGES[name].parent if name in IMAGES else ""
                if parent not in unfinished and len(running) < BUILDS_AT_ONCE:
                    waiting.remove(name)
                    running[pool.submit(work, name)] = name
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                future.result()


def _build_one(name: str) -> None:
    image = IMAGES[name]
    parent = tag(image.parent) if image.parent in IMAGES else rootfs.image(image.parent)
    options = ["--build-arg", f"PARENT={parent}"]
    if image.target:
        options += ["--target", image.target]
    for argument in image.arguments:
        options += ["--build-arg", argument]
    docker_build(tag(name), _context(image.folder, image.parent), options)


def docker_build(name: str, context: Mapping[str, tuple[bytes, int]], options: list[str]) -> None:
    """Build one image from files in memory."""
    label = ["--label", f"{LABEL}=image"]
    docker("build", "--quiet", "--tag", name, *label, *options, "-", data=_tar(context))


def _tar(context: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Pack a build context the way the Docker client takes it on its standard input."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (content, mode) in sorted(context.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
