"""A Docker engine for the bench: the one that answers, else Debian 13's, unpacked on the side.

Debian 13's engine runs on Debian 12 as it is, but its packages would pull a new libc and
`base-files` onto the machine. So they are unpacked into a directory of their own instead:
nothing on the machine is replaced, and removing the directory removes the engine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from . import machine
from .command import BenchError, run
from .names import ENGINE_DIR
from .patience import wait_until
from .progress import say

#: Debian 13's packages, and runc of the machine's own release: it is the one that needs libc.
FROM_DEBIAN_13 = ("docker.io", "containerd", "tini", "docker-cli", "docker-compose", "docker-buildx")
FROM_THIS_RELEASE = ("runc",)
PROGRAMS = ENGINE_DIR / "programs"
DATA = ENGINE_DIR / "data"
LOG = ENGINE_DIR / "dockerd.log"
PID_FILE = ENGINE_DIR / "dockerd.pid"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CLI_PLUGINS = Path("/usr/local/lib/docker/cli-plugins")
SECONDS_TO_ANSWER = 60


def answers() -> bool:
    """Say whether an engine answers the Docker client."""
    if not shutil.which("docker"):
        return False
    return run(["docker", "version", "-f", "{{.Server.Version}}"], check=False).returncode == 0


def ensure() -> None:
    """Make sure that a Docker engine answers; start our own when none does."""
    if answers():
        return
    if os.geteuid() != 0:
        raise BenchError("No Docker engine answers; starting one takes root.")
    if not (PROGRAMS / "usr/sbin/dockerd").exists():
        say("No Docker engine answers: fetching Debian 13's ...")
        begin = time.monotonic()
        _unpack()
        say(f"... unpacked into {PROGRAMS} after {time.monotonic() - begin:.0f} s")
    _link_client()
    _start()


def describe() -> str:
    """Return one line about the engine in use."""
    version = run(["docker", "version", "-f", "{{.Server.Version}}"]).stdout.strip()
    pid = _our_pid()
    return f"Docker Engine {version}" + (f", started by the bench (process {pid})" if pid else "")


def remove() -> bool:
    """Stop the engine if the bench started it, delete it, and say whether there was one."""
    pid = _our_pid()
    if pid:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: _our_pid() is None, SECONDS_TO_ANSWER, "the engine to stop")
        run(["ip", "link", "delete", "docker0"], check=False)
    for link in _client_links():
        if link.is_symlink() and link.readlink().is_relative_to(PROGRAMS):
            link.unlink()
    for directory in (CLI_PLUGINS, CLI_PLUGINS.parent):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
    existed = PROGRAMS.exists()
    if ENGINE_DIR.is_mount():
        raise BenchError(f"{ENGINE_DIR} is a mount point: empty it by hand, the rest is removed.")
    if ENGINE_DIR.exists():
        shutil.rmtree(ENGINE_DIR)
    return existed


def _unpack() -> None:
    """Download the packages with apt's own checks, and unpack them without installing."""
    missing = [
        package
        for package, program in (("iptables", "iptables"), ("ca-certificates", "update-ca-certificates"))
        if not shutil.which(program)
    ]
    if missing:
        machine.install(*missing)
    elif not any(Path("/var/lib/apt/lists").glob("*Packages*")):
        run(["apt-get", "update", "-qq"])
    work = ENGINE_DIR / "packages"
    (work / "lists").mkdir(parents=True, exist_ok=True)
    archive, _ = machine.mirrors()
    sources = work / "trixie.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {archive} trixie main\n")
    debian_13 = [
        "-o", f"Dir::Etc::SourceList={sources}",
        "-o", "Dir::Etc::SourceParts=/dev/null",
        "-o", f"Dir::State::Lists={work / 'lists'}",
        "-o", "APT::Sandbox::User=root",
    ]  # fmt: skip
    run(["apt-get", *debian_13, "update", "-qq"])
    for options, packages in ((debian_13, FROM_DEBIAN_13), ([], FROM_THIS_RELEASE)):
        run(["sh", "-c", 'cd "$0" && exec apt-get -qq "$@"', work, *options, "download", *packages])
    staging = ENGINE_DIR / "unpacking"
    for package in work.glob("*.deb"):
        run(["dpkg-deb", "--extract", package, staging])
    shutil.rmtree(work)
    staging.rename(PROGRAMS)


def _client_links() -> dict[Path, Path]:
    """Return the links that put the client and its plugins where people look for them."""
    plugins = PROGRAMS / "usr/libexec/docker/cli-plugins"
    return {
        Path("/usr/local/bin/docker"): PROGRAMS / "usr/bin/docker",
        CLI_PLUGINS / "docker-compose": plugins / "docker-compose",
        CLI_PLUGINS / "docker-buildx": plugins / "docker-buildx",
    }


def _link_client() -> None:
    for link, target in _client_links().items():
        if not link.exists() and not (link.name == "docker" and shutil.which("docker")):
            link.unlink(missing_ok=True)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)


def _start() -> None:
    """Start dockerd in a session of its own and wait until it answers."""
    DATA.mkdir(parents=True, exist_ok=True)
    PID_FILE.unlink(missing_ok=True)
    path = f"{PROGRAMS}/usr/sbin:{PROGRAMS}/usr/bin:{os.environ['PATH']}"
    options = ["--data-root", str(DATA), "--pidfile", str(PID_FILE), "--mtu", str(machine.mtu())]
    with LOG.open("ab") as log:
        process = subprocess.Popen(
            [PROGRAMS / "usr/sbin/dockerd", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PATH": path},
            cwd="/",
        )

    def ready() -> bool:
        if process.poll() is not None:
            last = LOG.read_text(errors="replace").splitlines()[-10:]
            raise BenchError(f"dockerd ended at once; the end of {LOG}:\n" + "\n".join(last))
        return answers()

    wait_until(ready, SECONDS_TO_ANSWER, "the engine to answer", lambda: f"Its log is {LOG}.")


def _our_pid() -> int | None:
    """Return the process id of the dockerd that the bench started, if it still runs."""
    try:
        pid = int(PID_FILE.read_text())
        program = Path(f"/proc/{pid}/exe").readlink()
    except (OSError, ValueError):
        return None
    return pid if program == PROGRAMS / "usr/sbin/dockerd" else None
