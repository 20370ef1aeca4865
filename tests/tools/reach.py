# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container reaches of others: a program for the host that runs them, as root.

Its argument is JSON: *inside*, the first process of the container that tries; *others*, a list of service, first
process and addresses; *beside*, a list of name, address and port. It tries every port that somebody listens on, from
the network of that container, and prints JSON: whom it reached, as "service:port".
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
from typing import Any

LISTENS = "0A"
NEW_NETWORK = 0x40000000
SECONDS = 2.0
AT_ONCE = 200


def listeners(process: int) -> set[int]:
    """The ports that somebody listens on in the network of a process."""
    found = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{process}/net/{table}", encoding="ascii") as handle:
            rows = [line.split() for line in handle.read().splitlines()[1:]]
        found |= {int(fields[1].rpartition(":")[2], 16) for fields in rows if fields[3] == LISTENS}
    return found


async def answers(slots: asyncio.Semaphore, address: str, port: int) -> bool:
    """Whether somebody takes a connection there."""
    async with slots:
        try:
            _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), SECONDS)
        except (TimeoutError, OSError):
            return False
        writer.close()
        return True


async def reached(ends: list[tuple[str, str, int]]) -> list[str]:
    """Of *ends* (name, address, port) those that answer, as "name:port"."""
    slots = asyncio.Semaphore(AT_ONCE)
    tried = await asyncio.gather(*(answers(slots, address, port) for _name, address, port in ends))
    return sorted({f"{name}:{port}" for (name, _address, port), answered in zip(ends, tried, strict=True) if answered})


def main(asked: dict[str, Any]) -> None:
    """Look who listens, go into the network of the container, and try."""
    ends = [
        (name, address, port)
        for name, process, addresses in asked["others"]
        for port in listeners(process)
        for address in addresses
    ]
    network = os.open(f"/proc/{asked['inside']}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(network, NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
    json.dump(asyncio.run(reached([*ends, *map(tuple, asked["beside"])])), sys.stdout)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
