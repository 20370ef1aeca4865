# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a TCP port of this host, read from /proc without any tool."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from typing import Iterator, List, NamedTuple, Optional, Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

LISTEN = "0A"
ANY_IPV4 = ipaddress.IPv4Address(0)
ANY_IPV6 = ipaddress.IPv6Address(0)


class Listener(NamedTuple):
    """A listening socket: its address and the inode that its process holds open."""

    address: Address
    port: int
    inode: str


class PortHolder(NamedTuple):
    """The process behind a taken port; pid 0 when it cannot be seen from here."""

    pid: int
    name: str
    program: str

    def __str__(self) -> str:
        """The words for a message: ``nginx (process 812, /usr/sbin/nginx)``."""
        if not self.pid:
            return "a process that cannot be seen from here"
        return "%s (process %d%s)" % (self.name, self.pid, ", " + self.program if self.program else "")


def parse_listeners(table: str) -> List[Listener]:
    """The listening sockets in the text of /proc/net/tcp or /proc/net/tcp6."""
    listeners = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTEN:
            address, port = fields[1].split(":")
            listeners.append(Listener(_parse_address(address), int(port, 16), fields[9]))
    return listeners


def _parse_address(text: str) -> Address:
    # The kernel prints the address as 32-bit words in the byte order of the machine.
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    if len(packed) == 4:
        return ipaddress.IPv4Address(packed)
    address = ipaddress.IPv6Address(packed)
    return address.ipv4_mapped or address


def parse_wanted(address: str) -> List[Address]:
    """What a published port binds to: no address at all means every one of both families."""
    if not address:
        return [ANY_IPV4, ANY_IPV6]
    wanted = ipaddress.ip_address(address.strip("[]"))
    return [getattr(wanted, "ipv4_mapped", None) or wanted]


def in_the_way(listener: Listener, wanted: Address) -> bool:
    """Whether a listener on the same port keeps somebody else from listening on an address.

    A listener on ``::`` usually takes IPv4 with it; the table does not tell when it does not.
    """
    if listener.address.version != wanted.version:
        return listener.address == ANY_IPV6
    either = (listener.address, wanted)
    return listener.address == wanted or ANY_IPV4 in either or ANY_IPV6 in either


def holder(port: int, address: str = "") -> Optional[PortHolder]:
    """The process that keeps *port* of *address* from being published, or None when it is free."""
    listeners = [listener for listener in _listeners() if listener.port == port]
    for wanted in parse_wanted(address):
        for listener in listeners:
            # Between the families the table leaves it open, so the kernel has the last word.
            certain = listener.address.version == wanted.version
            if in_the_way(listener, wanted) and (certain or not _is_free(port, wanted)):
                return _process_with(listener.inode)
    return None


def _listeners() -> Iterator[Listener]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        # A host without IPv6 has no second table.
        if os.path.exists(table):
            with open(table, encoding="ascii") as handle:
                yield from parse_listeners(handle.read())


def _is_free(port: int, address: Address) -> bool:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(address), port))
        except OSError as exc:
            return exc.errno != errno.EADDRINUSE
    return True


def _process_with(inode: str) -> PortHolder:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(entry.path) for entry in os.scandir("/proc/%s/fd" % pid)]
            if "socket:[%s]" % inode in links:
                with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as handle:
                    name = handle.read().strip()
                # The arguments stay out of it: they may carry a secret.
                with open("/proc/%s/cmdline" % pid, encoding="utf-8", errors="replace") as handle:
                    program = handle.read().split("\0")[0]
                return PortHolder(int(pid), name, program)
        except OSError:
            # It ended while it was looked at, or belongs to somebody else.
            continue
    return PortHolder(0, "", "")
