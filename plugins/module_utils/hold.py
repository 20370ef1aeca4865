# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that wait at the edge while what answers them is away.

A held service's upstream is a Unix socket in the edge's own directory. This process listens there: it keeps what comes,
unread by anybody, and passes it on to the containers when they are healthy again. What has waited for too long gets 503
with Retry-After. When nothing waits any more, the edge is told of the containers themselves.

Whoever may send requests shall not fill the host with them, nor take the others' time: so many of a service wait and no
more, few of them without a login, each with its first bytes, and whoever sends slowly waits for himself alone.

Caddy cannot keep requests by itself: at a reload it aborts what it tries again and again, and until 2.11.1 it loses the
body of a POST at the first try that reaches nobody (github.com/caddyserver/caddy/issues/7546).

If the operator dies, nobody listens: what waited gets 503 with Retry-After and has reached no container. What comes
then waits as far as Caddy can do that, until the next run holds further or releases.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import itertools
import os
import resource
import select
import socket
import threading
import time
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.edge import ON_THEIR_WAY_SECONDS, UPSTREAMS, Edge
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, addresses
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

RETRY_AFTER = 10
_BUSY = "This service is being updated. Try again in a few seconds.\n"
_BUSY_ANSWER = (
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (RETRY_AFTER, len(_BUSY), _BUSY)
).encode("ascii")

# How the edge, and how a service, tells something without an end: see the Caddyfile.
_ASKED = b"\r\ntamma-stream: yes\r\n"
_ANSWERED = b"\r\ncontent-type: text/event-stream"

_POLL_SECONDS = 0.1
_BACKLOG = 4096
_CHUNK = 65536
# So many of a service wait; what comes then gets 503 at once. Open paths are those of strangers (the edge says which
# requests came there), and of webhooks and whoever watches the service: a quarter is enough for a minute of them.
_MOST = 1024
_MOST_WITHOUT_LOGIN = 256
_WITHOUT_LOGIN = b"\r\nx-tamma-without-login:"
# So much of a request is kept here; and what asyncio reads ahead, twice at most.
_KEPT = 16384
_AHEAD = 4096
_WATCH_SECONDS = 1.0
# What has waited does not come over a container that has just started all at once: so many of a service wait for the
# beginning of an answer at a time, or have waited for so long. What is too large to be kept has turns of its own.
_AT_ONCE = 64
_LARGE_AT_ONCE = 16
_ANSWER_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
# A healthy container may be slow to take many connections; nobody has read the requests yet.
_PATIENCE_SECONDS = 15.0
# After the edge was told of the containers, requests have at least so long for their answer.
_FINISH_SECONDS = 60.0
# Whoever is refused may still be sending.
_LINGER_SECONDS = 5.0


class Target(NamedTuple):
    """A container that gets requests: its name, and where it is reached from the host."""

    name: str
    address: str
    port: int


class Hold:
    """Holds the requests of some services, drains their containers, and releases the requests to others.

    One object from the beginning to the end. The edge must not be told of the held services by anybody else in between,
    and may be reloaded: what waits has left Caddy's hands.
    """

    def __init__(self, edge: Edge, engine: Engine) -> None:
        self._edge = edge
        self._engine = engine
        self._gates = contextlib.ExitStack()
        self._open: Dict[str, "Gate"] = {}

    @property
    def held(self) -> List[str]:
        """The services that are held, by this operator or one that died."""
        return self._edge.held

    def begin(self, names: Iterable[str], seconds: float) -> None:
        """Hold the requests of those of the services that are behind the edge, each for *seconds* at most.

        What was begun before goes on: see :meth:`drain`. What is held already stays held. A refusal by the edge
        raises OperatorError, a full disk OSError, whoever ends this process KeyboardInterrupt; then nobody listens, and
        unless the disk is too full even for that, the files say again what they said before.
        """
        wanted = [name for name in names if name in self._edge.routed]
        before = self._edge.state(wanted)
        try:
            for name in wanted:
                self._listen(name, seconds)
            changed = [name for name in wanted if self._edge.hold(name, seconds)]
            if changed or (wanted and not self._edge.has_loaded):
                self._edge.reload()
        except BaseException:
            try:
                self._edge.restore(before)
            finally:
                self.close()
            raise

    def drain(self, containers: Mapping[str, Iterable[str]], seconds: float) -> None:
        """Wait until containers (service → their ids) have answered what they had, for *seconds* at most."""
        self._edge.drain(self._engine, containers, seconds)

    def release(self, containers: Mapping[str, Iterable[str]], seconds: float) -> int:
        """Let healthy containers (service → their ids) answer what waits and what comes.

        Requests that came through this process have *seconds* for their answer, and at least a minute. Streams are cut
        when the edge knows the containers: they come back without this process. Returns how many connections came.
        """
        targets = {
            name: [self._target(name, identifier) for identifier in identifiers]
            for name, identifiers in containers.items()
        }
        # Somebody else's hold: some requests are still in Caddy's hands, and it tries again soon.
        taken_over = [name for name in self.held if name not in self._open and targets.get(name)]
        for name in taken_over:
            self._listen(name, _PATIENCE_SECONDS)
        gates = [self._open[name] for name in sorted(targets) if name in self._open]
        for gate in gates:
            gate.pass_on(targets[gate.name])
        if taken_over:
            time.sleep(ON_THEIR_WAY_SECONDS)
        changed = [name for name, found in targets.items() if self._edge.route(name, [one.name for one in found])]
        if changed:
            self._edge.reload()
        began = time.monotonic()
        while gates and (
            time.monotonic() - began < ON_THEIR_WAY_SECONDS
            or (time.monotonic() - began < max(seconds, _FINISH_SECONDS) and any(gate.requests for gate in gates))
        ):
            time.sleep(_POLL_SECONDS)
        if not self.held:
            self.close()
        return sum(gate.connections for gate in gates)

    def close(self) -> None:
        """Stop listening; what still comes through this process is cut."""
        self._open.clear()
        self._gates.close()

    def _listen(self, name: str, seconds: float) -> None:
        if name not in self._open:
            listener = self._gates.enter_context(_listener(self._edge.socket(name)))
            self._open[name] = self._gates.enter_context(Gate(name, listener, seconds))

    def _target(self, name: str, identifier: str) -> Target:
        inspected = self._engine.container(identifier) or {}
        found = addresses(inspected)
        if not found:
            raise OperatorError(
                "The container %s of %s has no address and cannot get the requests that wait: run this again."
                % (identifier[:12], name)
            )
        return Target(inspected["Name"].lstrip("/"), found[0], int(self._edge.routed[name]))


def sweep(directory: str) -> None:
    """Remove sockets that an operator left in a stack's directory; call this under the lock."""
    for leftover in glob.glob(os.path.join(directory, UPSTREAMS, "*.socket")):
        os.unlink(leftover)


@contextlib.contextmanager
def _listener(path: str) -> Iterator[socket.socket]:
    """A socket at *path*, of any length, for as long as the block lasts."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind("/proc/self/fd/%d/%s" % (directory, os.path.basename(path)))
            try:
                os.chmod(path, 0o600)
                listener.listen(_BACKLOG)
                yield listener
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
    finally:
        os.close(directory)


class Gate:
    """Keeps what comes to a socket until it is told where to pass it on; works in a thread of its own."""

    def __init__(self, name: str, listener: socket.socket, seconds: float) -> None:
        """*seconds*: how long a request may wait."""
        self.name = name
        # How many have come.
        self.connections = 0
        self._listener = listener
        self._seconds = seconds
        self._turns: Iterator[Target] = iter(())
        # What waits and came without a login.
        self._strangers: Set["_Request"] = set()
        # What is open, and whether it is a stream.
        self._tasks: Dict["asyncio.Task[None]", bool] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate of " + name, daemon=True)

    def __enter__(self) -> "Gate":
        _raise_file_limit()
        self._loop.run_until_complete(self._serve())
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._close())
        self._loop.close()

    def pass_on(self, targets: Sequence[Target]) -> None:
        """Let *targets* answer, in turn, what waits and what comes."""
        if targets:
            self._turns = itertools.cycle(targets)
            self._loop.call_soon_threadsafe(self._opened.set)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return sum(list(self._tasks.values()))

    @property
    def requests(self) -> int:
        """How many other connections are open; Caddy ends them when they are idle."""
        return len(self._tasks) - self.streams

    async def _serve(self) -> None:
        self._opened = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._server = await asyncio.start_unix_server(
            self._accept, sock=self._listener, limit=_AHEAD, backlog=_BACKLOG
        )

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self._tasks[task] = False
        self.connections += 1
        try:
            await self._handle(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()
            del self._tasks[task]

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._opened.is_set() and len(self._tasks) > _MOST:
            await _refuse(reader, writer)
            return
        _read_at_once(writer, _AHEAD)
        request = _Request(reader)
        try:
            came = await asyncio.wait_for(self._wait(request, writer), self._seconds)
        except asyncio.TimeoutError:
            came = False
        finally:
            self._strangers.discard(request)
        if came:
            await self._exchange(request, reader, writer)
        else:
            await _refuse(reader, writer)

    async def _wait(self, request: "_Request", writer: asyncio.StreamWriter) -> bool:
        """Wait until a request is there and may be passed on; say whether there is room for it."""
        await request.head()
        if not self._opened.is_set() and request.without_login:
            if len(self._strangers) >= _MOST_WITHOUT_LOGIN:
                return False
            self._strangers.add(request)
        await request.arrive()
        while not self._opened.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._opened.wait(), _WATCH_SECONDS)
            _still_there(writer)
        return True

    async def _exchange(self, request: "_Request", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        async with self._slots if request.is_whole else self._large:
            _still_there(writer)
            far_reader, far_writer = await _connect(self._turns)
            self._tasks[task] = request.is_stream
            far_writer.write(request.take())
            _read_at_once(writer, _CHUNK)
            sending = asyncio.ensure_future(_pump(reader, far_writer))
            answer = asyncio.ensure_future(far_reader.read(_CHUNK))
            await asyncio.wait({answer}, timeout=_ANSWER_SECONDS)
        try:
            self._tasks[task] |= _ANSWERED in (await answer).lower()
            writer.write(await answer)
            await _pump(far_reader, writer)
            await sending
        finally:
            sending.cancel()
            far_writer.close()


class _Request:
    """What has come of a request: Caddy sends one at a time over a connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._kept = bytearray()
        self.is_whole = False

    @property
    def without_login(self) -> bool:
        """Whether it came to a path that is open to everybody, or may have: that can stand behind what is kept."""
        return b"\r\n\r\n" not in self._kept or _WITHOUT_LOGIN in self._headers()

    @property
    def is_stream(self) -> bool:
        """Whether it asks for an answer without an end."""
        return _ASKED in self._headers()

    def _headers(self) -> bytes:
        return bytes(self._kept).partition(b"\r\n\r\n")[0].lower() + b"\r\n"

    async def head(self) -> None:
        """Read until its headers are there, or more than is kept."""
        while b"\r\n\r\n" not in self._kept and len(self._kept) < _KEPT:
            await self._more()

    async def arrive(self) -> None:
        """Read until all of it is there, or as much as is kept."""
        self.is_whole = _is_whole(bytes(self._kept))
        while not self.is_whole and len(self._kept) < _KEPT:
            await self._more()
            self.is_whole = _is_whole(bytes(self._kept))

    async def _more(self) -> None:
        chunk = await self._reader.read(_AHEAD)
        if not chunk:
            raise ConnectionAbortedError("it has given up")
        self._kept += chunk

    def take(self) -> bytes:
        """Give away what is kept."""
        kept, self._kept = bytes(self._kept), bytearray()
        return kept


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
    fields = {name.strip(): value.strip() for name, _colon, value in lines}
    try:
        if fields.get(b"transfer-encoding", b"").endswith(b"chunked"):
            return _has_last_chunk(body)
        return len(body) >= int(fields.get(b"content-length", b"0"))
    except ValueError:
        return False


def _has_last_chunk(body: bytes) -> bool:
    while True:
        line, end, rest = body.partition(b"\r\n")
        if not end:
            return False
        size = int(line.partition(b";")[0], 16)
        if not size:
            return rest.startswith(b"\r\n") or b"\r\n\r\n" in rest
        body = rest[size + 2 :]


def _read_at_once(writer: asyncio.StreamWriter, most: int) -> None:
    """Let a connection bring so many bytes with one look; asyncio would take a quarter of a megabyte."""
    transport: Any = writer.transport
    transport.max_size = most


def _still_there(writer: asyncio.StreamWriter) -> None:
    """Raise ConnectionAbortedError when whoever sent a request has given up and shall not be served any more."""
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), select.POLLRDHUP)
    if poll.poll(0):
        raise ConnectionAbortedError("it has given up")


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_BUSY_ANSWER)
    writer.write_eof()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_exhaust(reader), _LINGER_SECONDS)


async def _exhaust(reader: asyncio.StreamReader) -> None:
    while await reader.read(_CHUNK):
        pass


async def _connect(turns: Iterator[Target]) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    until = time.monotonic() + _PATIENCE_SECONDS
    failure: Optional[Exception] = None
    while time.monotonic() < until:
        target = next(turns)
        try:
            return await asyncio.wait_for(asyncio.open_connection(target.address, target.port), _CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError) as exc:
            failure = exc
        await asyncio.sleep(_POLL_SECONDS)
    raise ConnectionError("no container takes a connection") from failure


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more; one direction may end before the other."""
    try:
        while True:
            chunk = await reader.read(_CHUNK)
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        # One side is gone, so the other one is told; that ends the other direction too.
        writer.transport.abort()


def _raise_file_limit() -> None:
    """Let this process have as many connections as it may."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
