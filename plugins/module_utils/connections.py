# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open connections to a container, read from the kernel's tables of its network namespace, and the end of streams."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
import termios
from typing import Collection, Iterable, Iterator, List, Optional, Set, Tuple

_ESTABLISHED = "01"

# Of every architecture; Linux 5.6 or later.
_PIDFD_GETFD = 438
# Seconds after which the kernel looks whether an idle connection is still there: the edge's own number for connections
# over which events or a WebSocket were asked for (see the Caddyfile).
_MARK = 61
# In the kernel's tcp_info: milliseconds since something was sent, and since something came.
_LAST_SENT, _LAST_CAME = 44, 52
# A request that was sent so long ago, and is being answered since, is answered for ever.
_STREAM_MILLISECONDS = 1500


def count(pid: int, port: int, sources: Iterable[str]) -> int:
    """Count the connections from *sources* to *port* in the network namespace of process *pid*."""
    wanted = set(sources)
    return sum(1 for source, target in established(pid) if target == port and source in wanted)


def established(pid: int) -> Iterator[Tuple[str, int]]:
    """Yield (remote address, local port) of each established connection; none for a process that is gone."""
    for fields in _rows(pid):
        yield _address(fields[2].partition(":")[0]), int(fields[1].partition(":")[2], 16)


def _rows(pid: int) -> Iterator[List[str]]:
    """The kernel's rows of the established connections in the network namespace of a process."""
    for table in ("tcp", "tcp6"):
        try:
            with open("/proc/%d/net/%s" % (pid, table), encoding="ascii") as handle:
                lines = handle.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _ESTABLISHED:
                yield fields


def cut_streams(pid: int, ends: Collection[Tuple[str, int]], unmarked: bool = False) -> int:
    """End the streams that process *pid*, or one below it, receives from *ends* (address, port); say how many.

    A stream is what the edge has marked as one, also before its first event. unmarked: also what looks like one, as a
    long answer does that is written piece by piece; what waits for its answer, or takes long to receive one that is
    there, goes on even then. It has to be done at the receiving end: the sender of a stream that is told to stop waits
    for it instead of ending it. Nothing is cut where the kernel does not let one process reach for a connection of
    another.
    """
    inodes = {
        "socket:[%s]" % fields[9]
        for fields in _rows(pid)
        if (_address(fields[2].partition(":")[0]), int(fields[2].partition(":")[2], 16)) in ends
    }
    done = 0
    for process in _family(pid) if inodes else []:
        for number in _descriptors(process, inodes):
            with _borrowed(process, number) as connection:
                if connection is None or _inode(connection) not in inodes:
                    continue
                if is_marked(connection) or (unmarked and is_stream(connection)):
                    # A reset when its owner closes it: who sends once a second sees the end of a connection late else.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.shutdown(socket.SHUT_RDWR)
                    done += 1
    return done


def _inode(connection: socket.socket) -> str:
    """What a connection is called in /proc: its number may have become another one's since it was looked up."""
    return "socket:[%d]" % os.fstat(connection.fileno()).st_ino


def is_marked(connection: socket.socket) -> bool:
    """Whether the edge asked for something without an end over this connection."""
    # Which of both Caddy sets goes by the version of its Go.
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
    return _MARK in [connection.getsockopt(socket.IPPROTO_TCP, option) for option in options]


def is_stream(connection: socket.socket) -> bool:
    """Whether the answer to what was sent here long ago comes piece by piece, and none of it waits to be read."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_CAME + 4)
    sent, came = (struct.unpack_from("=I", info, place)[0] for place in (_LAST_SENT, _LAST_CAME))
    (unread,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.FIONREAD, b"\0" * 4))
    return bool(sent >= _STREAM_MILLISECONDS and came < sent and not unread)


def _family(pid: int) -> List[int]:
    """A process and those below it."""
    found = [pid]
    for process in found:
        with contextlib.suppress(OSError), open("/proc/%d/task/%d/children" % (process, process)) as handle:
            found += [int(child) for child in handle.read().split()]
    return found


def _descriptors(process: int, inodes: Set[str]) -> List[int]:
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/%d/fd" % process):
            with contextlib.suppress(OSError):
                if os.readlink("/proc/%d/fd/%s" % (process, name)) in inodes:
                    found.append(int(name))
    return found


@contextlib.contextmanager
def _borrowed(process: int, number: int) -> Iterator[Optional[socket.socket]]:
    """A connection of another process; None when it is gone, or out of reach."""
    try:
        handle = os.pidfd_open(process)
    except (OSError, AttributeError):
        yield None
        return
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, handle, number, 0)
    finally:
        os.close(handle)
    if copy < 0:
        yield None
        return
    with socket.socket(fileno=copy) as connection:
        try:
            yield connection
        except OSError:
            # It ended by itself meanwhile.
            return


def _address(text: str) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's own byte order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
