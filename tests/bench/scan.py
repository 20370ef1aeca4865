"""Which TCP ports of an address take connections: every one of the 65535 is tried."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

PORTS = range(1, 65536)
AT_ONCE = 400
#: A port that does not even refuse is behind a filter.
SECONDS_PER_PORT = 2.0


def open_ports(address: str, ports: Iterable[int] = PORTS) -> list[int]:
    """Return the ports of an IPv4 or IPv6 address (with its scope: fe80::1%eth0) that are open."""
    return asyncio.run(_scan(address, iter(ports)))


async def _scan(address: str, ports: Iterable[int]) -> list[int]:
    family, *_, target = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0]
    host, _, *scope = target
    found: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        # Everybody takes the next port from the same iterator.
        for port in ports:
            with socket.socket(family, socket.SOCK_STREAM) as attempt:
                attempt.setblocking(False)
                try:
                    async with asyncio.timeout(SECONDS_PER_PORT):
                        await loop.sock_connect(attempt, (host, port, *scope))
                except (ConnectionError, TimeoutError):
                    continue
            found.append(port)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return sorted(found)
