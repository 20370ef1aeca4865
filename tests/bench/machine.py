"""What this machine needs to reach Debian's packages, handed on to images and hosts.

A machine may sit behind a proxy, a mirror or an authority of its own. All of that is read when
the bench runs, so that nothing about a particular machine stands in the repository.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import socket
from pathlib import Path

from .command import BenchError, run
from .names import ENGINE_DIR

DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY_MIRROR = "http://deb.debian.org/debian-security"
INSTALLED = ENGINE_DIR / "installed-packages"
APT = Path("/etc/apt")
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
#: Below the ports that Linux gives to whoever does not care.
PORTS = range(20000, 32000)
HANDED_ON = (
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
    "Acquire::Retries",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)


def apt_settings() -> str:
    """Return this machine's apt settings that decide whether packages can be fetched."""
    settings = dict.fromkeys(HANDED_ON, "")
    if shutil.which("apt-config"):
        for line in run(["apt-config", "dump", "Acquire"]).stdout.splitlines():
            key, _, value = line.rstrip(";").partition(" ")
            if key in settings:
                settings[key] = value.strip('"')
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY")
        if proxy:
            settings[f"Acquire::{scheme}::Proxy"] = proxy
    return "".join(f'{key} "{value}";\n' for key, value in settings.items() if value)


def mirrors() -> tuple[str, str]:
    """Return the addresses of Debian's archive and of its security archive as used here."""
    archive, security = DEFAULT_MIRROR, DEFAULT_SECURITY_MIRROR
    for file in [*sorted(APT.glob("sources.list*/*")), APT / "sources.list"]:
        for address in re.findall(r"^[^#\n]*\b(https?://\S+)", _text(file), re.MULTILINE):
            if address.rstrip("/").endswith("/debian"):
                archive = address.rstrip("/")
            elif address.rstrip("/").endswith("/debian-security"):
                security = address.rstrip("/")
    return archive, security


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def apt_sources(release: str) -> str:
    """Return the contents of a deb822 sources file for one Debian release."""
    archive, security = mirrors()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    stanzas = ((archive, f"{release} {release}-updates"), (security, f"{release}-security"))
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {keyring}\n"
        for uri, suites in stanzas
    )


def certificates() -> list[Path]:
    """Return the authorities that this machine's administrator added."""
    return sorted(OWN_CERTIFICATES.glob("*.crt"))


def mtu() -> int:
    """Return the packet size of the way out; a bridge with larger packets loses them."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination = line.split()[:2]
        if destination == "00000000":
            return int(Path(f"/sys/class/net/{interface}/mtu").read_text())
    return 1500


def install(*packages: str) -> None:
    """Install Debian packages on this machine, without starting a service."""
    if not shutil.which("apt-get"):
        raise BenchError(f"Please install {' '.join(packages)}: this machine has no apt-get.")
    if os.geteuid() != 0:
        raise BenchError(f"Please install {' '.join(packages)}, or run the bench as root.")
    # dpkg asks policy-rc.d whether it may start a service; this one always says no.
    guard = Path("/usr/sbin/policy-rc.d")
    guarded = guard.exists()
    if not guarded:
        guard.write_text("#!/bin/sh\nexit 101\n")
        guard.chmod(0o755)
    try:
        run(["apt-get", "update", "-qq"])
        run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            environment={"DEBIAN_FRONTEND": "noninteractive"},
        )
    finally:
        if not guarded:
            guard.unlink()
    INSTALLED.parent.mkdir(parents=True, exist_ok=True)
    with INSTALLED.open("a") as file:
        file.writelines(f"{package}\n" for package in packages)


def installed() -> list[str]:
    """Return the Debian packages that the bench installed on this machine."""
    return INSTALLED.read_text().split() if INSTALLED.exists() else []


def free_port() -> int:
    """Return a TCP port on which nobody listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def port_owner(port: int) -> str | None:
    """Return which process listens on a TCP port of this machine, or None when it is free."""
    listing = run(["ss", "-Hltnp", f"sport = :{port}"]).stdout.strip()
    if not listing:
        return None
    _, found, rest = listing.partition('users:(("')
    if not found:
        return "a process of another user"
    program, _, rest = rest.partition('",pid=')
    return f"{shlex.quote(program)} (process {rest.split(',')[0]})"
