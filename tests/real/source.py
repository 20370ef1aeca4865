"""Tamma's TypeScript services from a source tree: built in a copy of it, with Node and pnpm from the npm registry.

What a tree was built to is kept in the checkout's cache by the hash of what it was built from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench import clock, machine
from tests.bench.command import BenchError, run
from tests.bench.names import REPOSITORY
from tests.bench.progress import say

VARIABLE = "TAMMA_SOURCE"
CACHE = REPOSITORY / ".cache" / "real"
#: What the services are built from.
PARTS = (
    ".nvmrc",
    "package.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "tsconfig.json",
    "packages",
    "docker/nginx-dashboard.conf",
)
#: What an earlier build has left in a checkout.
LEFT = shutil.ignore_patterns("node_modules", "dist", "*.tsbuildinfo", ".env*")
SECONDS_TO_BUILD = 900


class Built(NamedTuple):
    """What there is to make images of: `app`, `page`, `node` and `dashboard.conf` in a directory."""

    #: Of the source; with a plus when something in it is not committed.
    commit: str
    directory: Path
    source: Path

    @property
    def name(self) -> str:
        """What tags and tables call it."""
        return self.commit[:7] + ("-changed" if self.commit.endswith("+") else "")


def build() -> Built:
    """Build the tree that TAMMA_SOURCE names, unless it is built."""
    source = _source()
    built = Built(_commit(source), CACHE / _digest(source), source)
    if not (built.directory / "node").exists():
        with clock.phase("building Tamma"):
            say(f"Building the TypeScript services of Tamma {built.name}.")
            _build(source, built.directory)
    return built


def _source() -> Path:
    named = os.environ.get(VARIABLE, "")
    if not named:
        raise BenchError(f"{VARIABLE} is not set: name a checkout of Tamma's source with it.")
    source = Path(named).resolve()
    missing = [part for part in PARTS if not (source / part).exists()]
    if missing:
        raise BenchError(f"{VARIABLE}={named} is no checkout of Tamma's source: it lacks {', '.join(missing)}.")
    return source


def _commit(source: Path) -> str:
    commit = run(["git", "-C", source, "rev-parse", "HEAD"]).stdout.strip()
    changed = run(["git", "-C", source, "status", "--porcelain", "--", *PARTS]).stdout.strip()
    return commit + ("+" if changed else "")


def _digest(source: Path) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for part in PARTS:
        for file in _files(source / part):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(source)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    entries = {entry.name: entry for entry in path.iterdir()}
    for name in sorted(set(entries) - set(LEFT(str(path), list(entries)))):
        yield from _files(entries[name])


def _build(source: Path, directory: Path) -> None:
    if not shutil.which("npm"):
        machine.install("npm")
    shutil.rmtree(directory, ignore_errors=True)
    app, tools = directory / "app", directory / "tools"
    for part in PARTS:
        target = app / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target, ignore=LEFT)
        else:
            shutil.copy(source / part, target)
    wanted = (source / ".nvmrc").read_text(encoding="utf-8").strip().lstrip("v")
    manager = json.loads((source / "package.json").read_text(encoding="utf-8"))["packageManager"].partition("+")[0]
    run(["npm", "install", "--prefix", tools, "--no-audit", "--no-fund", f"node@{wanted}", manager])
    programs = tools / "node_modules" / ".bin"
    version = run([programs / "node", "--version"]).stdout.strip()
    if not version.startswith(f"v{wanted}"):
        raise BenchError(f"The npm package node@{wanted} brought Node {version}.")

    def pnpm(*words: str | Path) -> None:
        # Otherwise it asks before it removes something.
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "CI": "true"}
        command = ["nice", programs / "pnpm", "--dir", app, *words]
        run(command, environment=environment, timeout=SECONDS_TO_BUILD)

    install: tuple[str | Path, ...] = ("install", "--frozen-lockfile", "--store-dir", tools / "store")
    pnpm(*install)
    for package in ("@tamma/cli...", "@tamma/dashboard..."):
        pnpm("--filter", package, "run", "build")
    shutil.move(app / "packages" / "dashboard" / "dist", directory / "page")
    shutil.move(app / "docker" / "nginx-dashboard.conf", directory / "dashboard.conf")
    for modules in [app / "node_modules", *app.glob("packages/*/node_modules")]:
        shutil.rmtree(modules)
    pnpm(*install, "--prod", "--filter", "@tamma/cli...")
    node = directory / "node.new"
    shutil.copy(programs / "node", node)
    shutil.rmtree(tools)
    # The last thing that comes: what was not built to its end is built anew.
    node.rename(directory / "node")
