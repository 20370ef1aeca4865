# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack's containers reach that they should not, and who is in the stack's networks without being of it."""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import re
import socket
from typing import Dict, List, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.engine import PROJECT_LABEL, SERVICE_LABEL, Engine

# Where a cloud tells whoever asks from a host who that host is, often with credentials: most clouds, Amazon's by IPv6,
# Alibaba's. Beside each an address that nobody has: where that takes connections as well, it is a proxy for everything.
METADATA = (
    ("169.254.169.254", "169.254.169.1", 80),
    ("fd00:ec2::254", "fd00:ec2::1", 80),
    ("100.100.100.200", "100.100.100.199", 80),
)

# Netavark's first version with `isolate=strict`.
_STRICT_SINCE = (1, 7)
_NEW_NETWORK = 0x40000000
_SECONDS = 1.0
_AT_ONCE = 32
_RULES = {
    "docker": "%(tables)s -I DOCKER-USER -p tcp -d %(address)s --dport 80 -j REJECT",
    "podman": (
        "nft 'add table inet tamma; add chain inet tamma forward { type filter hook forward priority -10; }; "
        "add rule inet tamma forward %(family)s daddr %(address)s tcp dport 80 reject'"
    ),
}


def isolation(engine: Engine) -> Dict[str, str]:
    """The setting that says how Podman keeps the stack's networks apart; nothing on Docker, which always does.

    Netavark refuses to start a container where it does not know the word.
    """
    if engine.kind != "podman":
        return {}
    numbers = re.search(r"(\d+)\.(\d+)", engine.network_backend())
    knows = numbers is not None and (int(numbers[1]), int(numbers[2])) >= _STRICT_SINCE
    return {"NETWORK_ISOLATION": "strict" if knows else "true"}


def rule(kind: str, address: str) -> str:
    """The command that keeps every container of an engine from an address for metadata, and leaves DNS there alone."""
    ipv6 = ":" in address
    return _RULES[kind] % {
        "address": address,
        "tables": "ip6tables" if ipv6 else "iptables",
        "family": "ip6" if ipv6 else "ip",
    }


def takes_connections(process: int, address: str, port: int) -> bool:
    """Whether somebody takes a connection at an address, from the network of a process.

    Only the calling thread goes there: it has to end, or to come here again, before it does anything else.
    """
    try:
        namespace = os.open("/proc/%d/ns/net" % process, os.O_RDONLY)
    except OSError:
        return False
    try:
        if ctypes.CDLL(None, use_errno=True).setns(namespace, _NEW_NETWORK):
            return False
    finally:
        os.close(namespace)
    try:
        with socket.create_connection((address, port), timeout=_SECONDS):
            return True
    except OSError:
        return False


def _answers(process: int, address: str, nobody: str, port: int) -> bool:
    return takes_connections(process, address, port) and not takes_connections(process, nobody, port)


def metadata(engine: Engine, project: str) -> List[str]:
    """A sentence for each address for metadata that containers of a stack reach, with the rule against it."""
    processes: Dict[str, int] = {}
    for item in engine.containers(project):
        state = (engine.container(item["Id"]) or {}).get("State") or {}
        if state.get("Running"):
            processes.setdefault((item.get("Labels") or {}).get(SERVICE_LABEL, ""), int(state.get("Pid") or 0))
    tries: List[Tuple[str, str, "concurrent.futures.Future[bool]"]] = []
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for address, nobody, port in METADATA:
            for service, process in sorted(processes.items()):
                tries.append((address, service, pool.submit(_answers, process, address, nobody, port)))
    found = []
    for address, _nobody, _port in METADATA:
        services = [service for at, service, answered in tries if at == address and answered.result()]
        if services:
            found.append(
                "%s can reach %s, where a cloud gives the credentials of this host to whoever asks. Only the host's "
                "firewall keeps containers from it: type '%s', and let it come back at every boot (see "
                "docs/security.md, Networks)." % (", ".join(services), address, rule(engine.kind, address))
            )
    return found


def strangers(engine: Engine, project: str) -> List[str]:
    """A sentence for each network of a stack with containers that are not of it."""
    found = []
    for network in engine.networks(project):
        names = sorted(
            (item.get("Names") or ["?"])[0].lstrip("/")
            for item in engine.attached(network)
            if (item.get("Labels") or {}).get(PROJECT_LABEL) != project
        )
        if names:
            found.append(
                "%s in the network %s of this stack and not of the stack: it reaches whoever is in there, and may be "
                "asked in the place of a service whose name it has. If it shall not: %s network disconnect %s NAME."
                % (
                    "The container %s is" % names[0] if len(names) == 1 else "The containers %s are" % ", ".join(names),
                    network,
                    engine.kind,
                    network,
                )
            )
    return found
