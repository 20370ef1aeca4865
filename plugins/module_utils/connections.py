# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open connections to a container, read from the kernel's tables of its network namespace."""

from __future__ import annotations

import ipaddress
from typing import Iterable, Iterator, Tuple

_ESTABLISHED = "01"


def count(pid: int, port: int, sources: Iterable[str]) -> int:
    """Count the connections from *sources* to *port* in the network namespace of process *pid*."""
    wanted = set(sources)
    return sum(1 for source, target in established(pid) if target == port and source in wanted)


def established(pid: int) -> Iterator[Tuple[str, int]]:
    """Yield (remote address, local port) of each established connection; none for a process that is gone."""
    for table in ("tcp", "tcp6"):
        try:
            with open("/proc/%d/net/%s" % (pid, table), encoding="ascii") as handle:
                lines = handle.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _number, local, remote, state = line.split()[:4]
            if state == _ESTABLISHED:
                yield _address(remote.partition(":")[0]), int(local.partition(":")[2], 16)


def _address(text: str) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's own byte order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
