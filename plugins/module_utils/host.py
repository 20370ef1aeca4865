# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is and whether the stack can live on it.

``collect`` reads the host and changes nothing; ``assess``, ``advise`` and ``missing`` judge what it
read and touch nothing.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import platform
import re
import shutil
import socket
import stat
import sys
from typing import Any, Dict, List, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import PODMAN_SOCKET
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

SUPPORTED: Dict[str, Tuple[str, ...]] = {
    "debian": ("12", "13"),
    "ubuntu": ("22.04", "24.04"),
    "rhel": ("9",),
    "rocky": ("9",),
    "almalinux": ("9",),
    "centos": ("9",),
    "ol": ("9",),
}
SUPPORTED_TEXT = (
    "Debian 12 or 13, Ubuntu 22.04 or 24.04, or release 9 of RHEL, Rocky Linux, AlmaLinux, CentOS Stream"
    " or Oracle Linux"
)
ARCHITECTURES = ("x86_64", "aarch64")
PYTHON_MINIMUM = "3.9"

# Podman 4.9 is the oldest that a supported distribution has and the stack can use: it knows
# "podman compose" (4.7), and every network of it is netavark's.
ENGINE_MINIMUM = {"docker": "25.0", "podman": "4.9"}
COMPOSE_MINIMUM = "2.24"

# GB that must be free: for the engine's packages, for the stack's files, and for what agents will clone. Images and
# volumes get what tamma_stack_minimum_disk_gb says.
_ROOM_FOR_PROGRAMS = 0.5
_ROOM_FOR_FILES = 0.1
_ROOM_FOR_WORK = 1.0

# Firmware, kernel and file system keep a part for themselves: a machine sold with 8 GB shows less.
TOLERANCE = 0.9

# Before all that keeps the stack off a host.
REFUSAL = "This host cannot carry the Tamma stack."

FOREIGN_ENGINE = (
    "The Docker engine of this host is not run by docker.service (a snap, Podman's emulation, rootless or"
    " started by hand?): remove it, so that a packaged one can be installed."
)

FOREIGN_PODMAN = (
    "Podman is installed here without its unit podman.socket, through which Compose talks to it: install Podman from"
    " the distribution's package."
)

DAEMON_CONFIG = "/etc/docker/daemon.json"
SOCKET = "/run/docker.sock"
PODMAN_ROOT = "/var/lib/containers/storage"
# Podman's settings stand in files of our own beside those of the distribution and the administrator.
DROPINS = ("/etc/containers/containers.conf.d/50-tamma.conf", "/etc/containers/registries.conf.d/50-tamma.conf")
# Where Podman looks for its helpers, besides the search path.
_HELPERS = "/usr/local/libexec/podman:/usr/local/lib/podman:/usr/libexec/podman:/usr/lib/podman"
# Part → the program that must be there: for init: true, the stack's network, names in it.
_PODMAN_PARTS = {"init": "catatonit", "network": "netavark", "dns": "aardvark-dns"}
# Where the packages of the engine go.
_PROGRAMS = "/usr"
# What the distribution's netavark writes its rules with, where that is not iptables.
_FIREWALL = {"debian": "nft"}
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass(frozen=True)
class Disk:
    """The file system that holds some path; *holds* is what lies there: files, engine, programs or work."""

    path: str
    mount: str
    device: int
    size_gb: float
    free_gb: float
    holds: str


@dataclasses.dataclass(frozen=True)
class Engine:
    """The engine of a host that the stack shall use.

    ``foreign`` is one that its unit does not run: of Docker a snap, Podman's emulation, a rootless or
    hand-started one; of Podman one without podman.socket. ``flags`` are the arguments that a running
    daemon was given, ``lacks`` the parts of Podman that are packages of their own and not there,
    ``driver`` how images are stored, where it was asked, ``beside`` the name of another engine that runs.
    """

    installed: bool = False
    foreign: bool = False
    running: bool = False
    enabled: bool = False
    client: bool = False
    version: str = ""
    origin: str = "none"
    data_root: str = "/var/lib/docker"
    live_restore: bool = False
    swarm: bool = False
    flags: List[str] = dataclasses.field(default_factory=list)
    name: str = "docker"
    lacks: List[str] = dataclasses.field(default_factory=list)
    driver: str = ""
    beside: str = ""


@dataclasses.dataclass(frozen=True)
class Compose:
    """The Compose plugin; both are empty when there is none."""

    version: str = ""
    path: str = ""


@dataclasses.dataclass(frozen=True)
class DaemonConfig:
    """The engine's configuration file: its content, or why it cannot be read as one."""

    path: str = DAEMON_CONFIG
    mode: str = "0644"
    content: Dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Host:
    """Everything that was read from a host."""

    name: str
    distribution: str
    version: str
    codename: str
    family: str
    architecture: str
    python: str
    memory_mb: int
    cpus: int
    init: str
    systemd: bool
    root: bool
    deployed: bool
    disks: List[Disk]
    engine: Engine
    compose: Compose
    daemon_config: DaemonConfig
    dropins: Dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What the stack asks of a host; zero asks for nothing."""

    directory: str = "/opt/tamma"
    memory_mb: int = 0
    disk_gb: float = 0
    cpus: int = 0
    engine: str = ENGINE_MINIMUM["docker"]
    compose: str = COMPOSE_MINIMUM


# --- reading versions and files: pure -------------------------------------------------------------


def version_tuple(text: str) -> Tuple[int, ...]:
    """The numbers of a version, whatever a packager put around them.

    >>> version_tuple("v2.24.0-desktop.1"), version_tuple("5:26.1.5+dfsg1-9"), version_tuple("none")
    ((2, 24, 0), (26, 1, 5), ())
    """
    found = re.match(r"\s*(?:\d+:)?v?(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in found.group(1).split(".")) if found else ()


def at_least(found: str, minimum: str) -> bool:
    """Whether a version is as new as another; one that cannot be read never is.

    >>> at_least("25", "25.0"), at_least("24.0.9", "25.0"), at_least("", "0")
    (True, False, False)
    """
    have, want = version_tuple(found), version_tuple(minimum)
    width = max(len(have), len(want))
    return bool(have) and have + (0,) * (width - len(have)) >= want + (0,) * (width - len(want))


def parse_os_release(text: str) -> Dict[str, str]:
    """The keys of /etc/os-release, without the quotes of their values."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def family_of(release: Dict[str, str]) -> str:
    """Which packaging a distribution uses: debian, redhat, or nothing that is known here."""
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    if "debian" in names or "ubuntu" in names:
        return "debian"
    if "rhel" in names or "fedora" in names:
        return "redhat"
    return ""


def parse_memory_mb(meminfo: str) -> int:
    """The machine's memory in MiB, from /proc/meminfo."""
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(found.group(1)) // 1024 if found else 0


def parse_daemon_config(text: str, path: str) -> Tuple[Dict[str, Any], str]:
    """The content of a daemon.json and an empty error, or nothing and what is wrong with it.

    An empty file is as good as none, and a byte order mark is skipped: so does the engine.
    """
    text = text.lstrip("\ufeff")
    if not text.strip():
        return {}, ""
    try:
        content = json.loads(text)
    except ValueError as exc:
        return {}, "%s is not valid JSON (%s): correct it, or move it away." % (path, exc)
    if not isinstance(content, dict):
        return {}, "%s holds no JSON object: correct it, or move it away." % path
    return content, ""


def config_path(flags: List[str]) -> str:
    """Which configuration file a daemon that was started with these arguments reads."""
    for number, flag in enumerate(flags):
        if flag.startswith("--config-file="):
            return flag.split("=", 1)[1]
        if flag == "--config-file" and number + 1 < len(flags):
            return flags[number + 1]
    return DAEMON_CONFIG


# --- judging: pure --------------------------------------------------------------------------------


def missing(host: Host) -> List[str]:
    """Which parts have to be installed: engine, client, compose; for Podman also init, network, dns, firewall."""
    parts = {
        "engine": host.engine.installed,
        "client": host.engine.client,
        "compose": bool(host.compose.path),
        **dict.fromkeys(host.engine.lacks, False),
    }
    return [part for part, there in parts.items() if not there]


def assess(host: Host, wanted: Requirements) -> List[str]:
    """Everything that keeps the stack off this host, each as one sentence that says what to do."""
    return _system_problems(host) + _resource_problems(host, wanted) + _engine_problems(host, wanted)


def advise(host: Host, wanted: Requirements) -> List[str]:
    """What makes the stack slow on this host without keeping it off."""
    found = []
    if host.cpus < wanted.cpus:
        advice = "This host has %d processors, the stack likes %d: expect slow starts."
        found.append(advice % (host.cpus, wanted.cpus))
    if host.engine.driver == "vfs":
        advice = "Podman stores images with the driver vfs, which copies every layer in full: see docs/podman.md."
        found.append(advice)
    if host.engine.beside == "docker":
        found.append(
            "Docker runs on this host beside Podman, and its firewall rules may drop what goes to and from Podman's "
            "containers: if nothing else needs it, disable it and reboot; docs/podman.md has more."
        )
    return found


def _system_problems(host: Host) -> List[str]:
    problems = []
    if not any(_is_release(host.version, release) for release in SUPPORTED.get(host.distribution, ())):
        problems.append("%s is not supported: use %s." % (host.name or "This distribution", SUPPORTED_TEXT))
    if host.architecture not in ARCHITECTURES:
        known = " or ".join(ARCHITECTURES)
        problems.append("Architecture %s is not supported: use %s." % (host.architecture, known))
    if not host.systemd:
        problems.append("systemd does not run here (process 1 is '%s'): use a host that systemd boots." % host.init)
    if not host.root:
        problems.append("This needs root: connect as root, or set 'become: true'.")
    if not at_least(host.python, PYTHON_MINIMUM):
        problems.append(
            "Python %s on this host is older than %s: install a newer one and point"
            " ansible_python_interpreter to it." % (host.python, PYTHON_MINIMUM)
        )
    return problems


def _is_release(version: str, release: str) -> bool:
    # A minor release of RHEL and its family (9.4) counts as its major one (9).
    return version == release or version.startswith(release + ".")


def _resource_problems(host: Host, wanted: Requirements) -> List[str]:
    problems = []
    if host.memory_mb < wanted.memory_mb * TOLERANCE:
        problems.append(
            "This host has %d MB of memory, the stack needs %d: give it more, or lower"
            " tamma_stack_minimum_memory_mb if you know that it is enough." % (host.memory_mb, wanted.memory_mb)
        )
    return problems + (_disk_problems(host, wanted) if wanted.disk_gb else [])


def _disk_problems(host: Host, wanted: Requirements) -> List[str]:
    """Judge each file system by everything that it is to hold."""
    problems = []
    for device in dict.fromkeys(disk.device for disk in host.disks):
        disks = [disk for disk in host.disks if disk.device == device]
        # It is not added up: what the engine needs is so much more than the rest.
        disk = max(disks, key=lambda item: _room(host, wanted, item.holds))
        free_wanted = _room(host, wanted, disk.holds)
        of_engine = disk.holds == "engine"
        if of_engine and disk.size_gb < wanted.disk_gb * TOLERANCE:
            lack = "%.1f GB, the stack needs %g: enlarge it" % (disk.size_gb, wanted.disk_gb)
        elif disk.free_gb < free_wanted:
            lack = "%.1f GB free, the stack needs %g: make room" % (disk.free_gb, free_wanted)
        else:
            continue
        remedy = ", or lower tamma_stack_minimum_disk_gb if you know that it is enough." if of_engine else "."
        problems.append("The file system of %s (mounted on %s) has %s%s" % (disk.path, disk.mount, lack, remedy))
    return problems


def _room(host: Host, wanted: Requirements, holds: str) -> float:
    """GB that must be free for what lies on a file system."""
    if holds == "engine":
        # Images and data come with the first deploy; later there has to be room for the next images only.
        return wanted.disk_gb * (0.1 if host.deployed else 0.25)
    if holds == "programs":
        return _ROOM_FOR_PROGRAMS if missing(host) else 0.0
    return _ROOM_FOR_WORK if holds == "work" and not host.deployed else _ROOM_FOR_FILES


def _engine_problems(host: Host, wanted: Requirements) -> List[str]:
    engine, compose = host.engine, host.compose
    name = "Podman" if engine.name == "podman" else "Docker Engine"
    if engine.foreign:
        return [FOREIGN_PODMAN if engine.name == "podman" else FOREIGN_ENGINE]
    problems = [host.daemon_config.error] if host.daemon_config.error else []
    if engine.installed and not at_least(engine.version, wanted.engine):
        problems.append(
            "%s %s (package %s) is older than %s and is not replaced, because other workloads may"
            " depend on it: upgrade or remove it yourself."
            % (name, engine.version or "?", engine.origin, wanted.engine)
        )
    if compose.path and not at_least(compose.version, wanted.compose):
        problems.append(
            "Docker Compose %s (%s) is older than %s and is not replaced: upgrade or remove it yourself."
            % (compose.version or "?", compose.path, wanted.compose)
        )
    if engine.installed and engine.origin == "none" and missing(host):
        absent = " and ".join(_PART_NAMES[part] for part in missing(host))
        problems.append(
            "%s is installed here without a package, and %s missing: add it the same way."
            % (name, absent + (" are" if " and " in absent else " is"))
        )
    return problems


_PART_NAMES = {
    "engine": "the engine",
    "client": "the docker client",
    "compose": "the Compose plugin",
    "init": "catatonit",
    "network": "netavark",
    "dns": "aardvark-dns",
    "firewall": "nftables or iptables",
}


# --- collecting: reads, never writes --------------------------------------------------------------


def collect(runner: Runner, directory: str, engine_name: str = "docker", workdir: str = "") -> Host:
    """Read a host.

    *directory* is where the stack lives, or will live; *engine_name* docker or podman; *workdir* the directory of this
    host in which the stack's engine works, if it does.
    """
    release = parse_os_release(_read("/etc/os-release"))
    systemd = os.path.isdir("/run/systemd/system")
    config = DaemonConfig()
    if engine_name == "podman":
        engine = _collect_podman(runner, systemd, release)
    else:
        engine, config = _collect_docker(runner, systemd, family_of(release))
    return Host(
        name=release.get("PRETTY_NAME", ""),
        distribution=release.get("ID", ""),
        version=release.get("VERSION_ID", ""),
        codename=release.get("VERSION_CODENAME", ""),
        family=family_of(release),
        architecture=platform.machine(),
        python="%d.%d.%d" % sys.version_info[:3],
        memory_mb=parse_memory_mb(_read("/proc/meminfo")),
        cpus=len(os.sched_getaffinity(0)),
        init=_read("/proc/1/comm").strip(),
        systemd=systemd,
        root=os.geteuid() == 0,
        deployed=os.access(directory, os.R_OK) and bool(os.listdir(directory)),
        disks=[
            _disk(path, holds)
            for path, holds in (
                (directory, "files"),
                (engine.data_root, "engine"),
                (_PROGRAMS, "programs"),
                (workdir, "work"),
            )
            if path
        ],
        engine=engine,
        compose=_collect_compose(runner),
        daemon_config=config,
        dropins={path: _read(path) for path in DROPINS} if engine_name == "podman" else {},
    )


def _collect_podman(runner: Runner, systemd: bool, release: Dict[str, str]) -> Engine:
    unit = _unit(runner, "podman.socket") if systemd else {}
    loaded = unit.get("LoadState", "not-found") != "not-found"
    program = shutil.which("podman", path=PROGRAM_PATH)
    parts = {**_PODMAN_PARTS, "firewall": _FIREWALL.get(release.get("ID", ""), "iptables")}
    lacks = [part for part, name in parts.items() if not _helper(name)]
    if not (program and loaded):
        # The client is podman itself.
        return Engine(name="podman", foreign=bool(program), client=True, lacks=lacks, data_root=PODMAN_ROOT)
    running = unit.get("ActiveState") == "active"
    docker = _unit(runner, "docker.service")
    info = _engine_info(PODMAN_SOCKET, "podman.socket") if running and os.geteuid() == 0 else {}
    return Engine(
        name="podman",
        installed=True,
        running=running,
        enabled=unit.get("UnitFileState") == "enabled",
        client=True,
        version=str(info.get("ServerVersion", "")) or _program_version(runner, program),
        origin=_package_of(runner, program, family_of(release)),
        data_root=str(info.get("DockerRootDir") or PODMAN_ROOT),
        lacks=lacks,
        driver=str(info.get("Driver", "")),
        beside="docker" if docker.get("ActiveState") == "active" else "",
    )


def _helper(name: str) -> bool:
    return shutil.which(name, path=PROGRAM_PATH + ":" + _HELPERS) is not None


def _collect_docker(runner: Runner, systemd: bool, family: str) -> Tuple[Engine, DaemonConfig]:
    unit = _unit(runner, "docker.service") if systemd else {}
    loaded = unit.get("LoadState", "not-found") != "not-found"
    program = shutil.which("dockerd", path=PROGRAM_PATH)
    client = shutil.which("docker", path=PROGRAM_PATH) is not None
    # The unit is asked before the socket: with socket activation, talking to it starts the engine.
    running = unit.get("ActiveState") == "active"
    flags = _read("/proc/%s/cmdline" % unit.get("MainPID", "0")).split("\0")[1:-1] if running else []
    config = _read_daemon_config(config_path(flags))
    if not (program and loaded):
        foreign = bool(program) or _listens(SOCKET)
        return Engine(foreign=foreign, client=client), config
    # Without root the engine does not answer, and that root is missing is the one thing to say.
    info = _engine_info(SOCKET, "docker.service") if running and os.geteuid() == 0 else {}
    return (
        Engine(
            installed=True,
            running=running,
            enabled=unit.get("UnitFileState") == "enabled",
            client=client,
            version=str(info.get("ServerVersion", "")) or _program_version(runner, program),
            origin=_package_of(runner, program, family),
            data_root=str(info.get("DockerRootDir") or config.content.get("data-root") or "/var/lib/docker"),
            live_restore=bool(info.get("LiveRestoreEnabled")),
            swarm=info.get("Swarm", {}).get("LocalNodeState", "inactive") != "inactive",
            flags=flags,
        ),
        config,
    )


def _listens(path: str) -> bool:
    """Whether somebody is behind a socket: systemd leaves the file of a removed engine behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _unit(runner: Runner, name: str) -> Dict[str, str]:
    properties = "--property=LoadState,ActiveState,UnitFileState,MainPID"
    shown = runner.run(["systemctl", "show", name, properties], timeout=30)
    return dict(line.split("=", 1) for line in shown.out.splitlines() if "=" in line)


def _engine_info(path: str, unit: str) -> Dict[str, Any]:
    """What the engine says of itself. The socket answers ten times as fast as the docker client."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(path)
        connection.request("GET", "/info")
        info = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise OperatorError(
            "%s is active but does not answer on %s (%s): see 'journalctl -u %s'."
            % (unit, path, exc, unit.partition(".")[0])
        ) from exc
    finally:
        connection.close()
    return info if isinstance(info, dict) else {}


def _program_version(runner: Runner, program: str) -> str:
    # "Docker version 26.1.5+dfsg1, build a72d7cd", "podman version 5.4.2"
    return runner.run([program, "--version"], timeout=30).out.partition("version ")[2].partition(",")[0].strip()


def _package_of(runner: Runner, program: str, family: str) -> str:
    """The name of the package that a program came with, or "none"."""
    if family == "redhat":
        asked = runner.run(["rpm", "--query", "--file", "--queryformat", "%{NAME}", program], timeout=60)
    else:
        asked = runner.run(["dpkg-query", "--search", program], timeout=60)
    return asked.out.partition(":")[0].strip() if asked.rc == 0 else "none"


def _collect_compose(runner: Runner) -> Compose:
    path = find_compose()
    if path is None:
        return Compose()
    # The plugin is a program of its own: no need to start the client, which asks every plugin.
    return Compose(runner.run([path, "version", "--short"], timeout=60).out.strip(), path)


def _read_daemon_config(path: str) -> DaemonConfig:
    if not os.path.exists(path):
        return DaemonConfig(path=path)
    content, error = parse_daemon_config(_read(path), path)
    return DaemonConfig(path, "%04o" % stat.S_IMODE(os.stat(path).st_mode), content, error)


def _disk(path: str, holds: str) -> Disk:
    """The file system that holds a path, or will hold it once the path exists."""
    there = os.path.realpath(path)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    room = os.statvfs(there)
    mount = there
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    return Disk(
        path=path,
        mount=mount,
        device=os.stat(there).st_dev,
        size_gb=round(room.f_blocks * room.f_frsize / 1e9, 1),
        free_gb=round(room.f_bavail * room.f_frsize / 1e9, 1),
        holds=holds,
    )


def _read(path: str) -> str:
    """A file's text, or nothing when there is no such file or it is not ours to read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""
