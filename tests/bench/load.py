"""A steady load on an edge: requests at a fixed rate, open event streams, rows that are written; what became of them.

The rates do not wait for answers, and a request's time counts from the moment it was due: an edge that
stands still shows as many slow requests, not as a few. The requests begin when every stream is open.

A server that ends a kept connection in good order lets the client send elsewhere what it has not answered. Over
HTTP/1.1 it closes an idle connection, which may cross a request that is on its way: the client finds the connection
closed or, if the request arrives after that, reset. Browsers and curl then send that request once more, and so does
this; on a connection that was made for the request, or once an answer has begun, the same is a failure. Over HTTP/2
the server says GOAWAY and answers what it has taken, but Python's h2 reads nothing after that
(github.com/encode/httpcore/pull/1054), and closes the connection under all other requests on it: such a request is
sent once more, there are only those that may be, and no streams.

The rows (``writes``) have titles of their own, each goes over a new connection and is sent once: whatever is in the
database twice was sent twice by somebody else.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from .command import BenchError
from .edge import Edge
from .patience import scaled

SECONDS_TO_BEGIN = 30
#: Over how many clients the requests of each kind, and the streams, are spread. One looks through all connections at
#: every request, so that with a thousand which wait it takes a core for itself; over HTTP/2 it takes 250 at most.
CLIENTS = 20
#: What the stand-in tells an event stream's client to wait before it connects again.
RECONNECT_SECONDS = 1.0
#: Whatever a client was told, it waits so long after it could not connect again.
RETRY_SECONDS = 0.2
EVENTS = "/api/events"
HEALTH = "/api/health"
SESSIONS = "/elsa-api/api/mentorship/sessions"
#: So late is nobody who has enough of the machine.
LATE_SECONDS = 0.2
#: How often over kept connections, and over HTTP/2, where each of several reloads ends every request that waits.
#: A browser tries until it has made a connection for the request; a reload ends all that are kept at once.
TRIES = 10
#: With what Caddy 2.6 refuses a handshake that meets a reload in the same moment: some one in 4,000 on a busy machine
#: (docs/production.md). Nothing was sent yet. So many are let pass, each with a new connection, and told in the report.
HANDSHAKE_REFUSED = "TLSV1_ALERT_INTERNAL_ERROR"
MOST_REFUSED = 2
#: What h2 says of a GOAWAY in good order.
GOING_AWAY = "ConnectionTerminated error_code:0,"


class Ask(NamedTuple):
    """One kind of request, and the status that counts as an answer."""

    method: str
    path: str
    status: int = 200
    body: dict[str, Any] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


#: The page, both APIs, an event for the streams, and a row that is written to the database.
MIX = (
    Ask("GET", "/"),
    Ask("GET", HEALTH),
    Ask("POST", EVENTS, 202, {"message": "load"}),
    Ask("GET", "/elsa-api/health"),
    Ask("POST", SESSIONS, 201, {"title": "load"}),
    Ask("GET", f"{SESSIONS}?limit=1"),
)


class Failure(NamedTuple):
    """A request without the answer that it should have."""

    second: float
    ask: str
    connection: str
    reason: str

    def __str__(self) -> str:
        return f"after {self.second:.1f} s: {self.ask} ({self.connection}): {self.reason}"


class Cut(NamedTuple):
    """An open event stream that ended, and how long it took until it was open again (None: it was not)."""

    stream: int
    second: float
    again: float | None

    def __str__(self) -> str:
        then = "not open again" if self.again is None else f"open again {1000 * self.again:.0f} ms later"
        return f"after {self.second:.1f} s: stream {self.stream} was cut, {then}"


class _Trail:
    """What happened to the connection of one request: httpcore tells it as it goes."""

    def __init__(self) -> None:
        #: Whether the connection was made for this request.
        self.fresh = False
        #: Whether an answer has begun.
        self.answered = False

    async def __call__(self, event: str, _info: dict[str, Any]) -> None:
        self.fresh = self.fresh or event == "connection.connect_tcp.started"
        self.answered = self.answered or event.endswith("receive_response_headers.complete")

    def may_be_sent_again(self, error: httpx.HTTPError, closed_by_h2: bool) -> bool:
        """Say whether a connection was ended in good order before the request reached anybody.

        closed_by_h2: there was a GOAWAY since the request was begun, and h2 has closed the connection under it.
        """
        if _is_going_away(error):
            return True
        ended = isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError))
        return ended and (not self.fresh or closed_by_h2) and not self.answered


def _is_going_away(error: httpx.HTTPError) -> bool:
    return isinstance(error, httpx.RemoteProtocolError) and GOING_AWAY in str(error)


class Load:
    """Asks from ``with`` to the end of its block; everything that was begun is waited for."""

    def __init__(
        self,
        edge: Edge,
        rate: float = 20,
        streams: int = 2,
        mix: Sequence[Ask] = MIX,
        *,
        writes: float = 0,
        reconnect: float = RECONNECT_SECONDS,
        events: str = EVENTS,
    ) -> None:
        self.failures: list[Failure] = []
        #: Kind of request -> how often it was answered.
        self.answered: Counter[str] = Counter()
        #: From the moment when it was due, of each answered request.
        self.seconds: list[float] = []
        #: How late a request was begun at most: a load that is late itself says little about the edge.
        self.late = 0.0
        #: The request that took longest: how long, and which one after how many seconds.
        self.slowest: tuple[float, str] = (0.0, "")
        #: Each end of an open event stream, and how many events came.
        self.ends: list[Cut] = []
        self.events = 0
        #: What tamma-api called its version -> the seconds of the first and of the last such answer.
        self.versions: dict[str, tuple[float, float]] = {}
        #: The same name -> the second at which the last request was due that it answered, however late that came.
        self.last_asked: dict[str, float] = {}
        #: How many requests were sent once more, because their kept connection had been ended.
        self.again = 0
        #: How many handshakes the edge has refused: see HANDSHAKE_REFUSED.
        self.refused = 0
        #: The rows whose writing was answered, title -> id: an id may come twice, when a database goes back. How many
        #: there were to write.
        self.acknowledged: dict[str, int] = {}
        self.written = 0
        self._edge, self._rate, self._streams, self._mix = edge, rate, streams, mix
        self._writes, self._reconnect, self._events = writes, reconnect, events
        self._mark = f"load {secrets.token_hex(4)}"
        self._began = time.monotonic()
        self._open = 0
        #: HTTP/2 client -> when its connection was last ended in good order.
        self._goaway: dict[httpx.AsyncClient, float] = {}
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Load:
        deadline = time.monotonic() + scaled(SECONDS_TO_BEGIN)
        self._thread.start()
        while self._open < self._streams or not self.seconds:
            if time.monotonic() > deadline or not self._thread.is_alive():
                self._stop()
                raise BenchError(f"The load did not begin: {self._error or self.report()}")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()
        if self._error and not error:
            raise self._error

    @property
    def cuts(self) -> int:
        """How often an open event stream ended."""
        return len(self.ends)

    @property
    def rows(self) -> str:
        """What to ask the database for the rows of this load; the answer is for ``missing`` and ``twice``."""
        return f"SELECT id || ' ' || title FROM future_sessions WHERE title LIKE '{self._mark} %' ORDER BY id"

    def missing(self, found: str) -> list[str]:
        """Return the acknowledged rows that a database does not have: it printed *found*, a line a row."""
        return sorted({f"{number} {title}" for title, number in self.acknowledged.items()} - set(found.splitlines()))

    def twice(self, found: str) -> list[str]:
        """Return the titles that a database has more than once."""
        titles = Counter(line.partition(" ")[2] for line in found.splitlines())
        return sorted(title for title, times in titles.items() if times > 1)

    def measured(self) -> dict[str, float]:
        """Return the figures of a table: counts, and seconds (of requests, and until a cut stream was open again)."""
        again = [end.again for end in self.ends if end.again is not None]
        figures = {
            "requests": len(self.seconds) + len(self.failures),
            "failed": len(self.failures),
            "rows": self.written,
            "acknowledged": len(self.acknowledged),
            "streams": self._streams,
            "cuts": len(self.ends),
            "longest": self.slowest[0],
            "late": self.late,
            "longest until open again": max(again, default=0.0),
        }
        if len(self.seconds) > 1:
            hundredths = statistics.quantiles(self.seconds, n=100, method="inclusive")
            figures |= {"p50": hundredths[49], "p99": hundredths[98]}
        return figures

    def report(self) -> str:
        """Say in a few lines how it went."""
        figures = self.measured()
        asked = f"{figures['requests']} requests, {figures['failed']} failed, {self.again} sent once more"
        asked += f", {self.refused} handshakes refused" if self.refused else ""
        lines = [f"{asked}; {self._streams} streams, cut {self.cuts} times"]
        if self.ends:
            first, last = self.ends[0].second, self.ends[-1].second
            slowest = sorted(self.ends, key=lambda end: 1e9 if end.again is None else end.again)[-3:]
            lines += [f"cut from {first:.1f} s to {last:.1f} s; at most:", *map(str, slowest)]
        if "p50" in figures:
            p50, p99, longest = (1000 * figures[name] for name in ("p50", "p99", "longest"))
            lines.append(
                f"half within {p50:.0f} ms, 99 % within {p99:.0f} ms, the longest {longest:.0f} ms ({self.slowest[1]})"
            )
        if self.late > LATE_SECONDS:
            lines.append(f"the load itself was late by up to {1000 * self.late:.0f} ms: this machine was busy")
        lines += [f"{name} answered from {one:.1f} s to {other:.1f} s" for name, (one, other) in self.versions.items()]
        if self._writes:
            lines.append(f"{self.written} rows to write, {len(self.acknowledged)} acknowledged")
        reasons = Counter(failure.reason for failure in self.failures)
        lines += [f"{times} times: {reason}" for reason, times in reasons.most_common(10)]
        return "\n".join([*lines, *map(str, self.failures[:20])])

    def _stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._ask_and_listen())
        except BaseException as error:  # shown where the load was wanted, not in its thread
            self._error = error

    async def _ask_and_listen(self) -> None:
        async with AsyncExitStack() as stack:

            async def several(**options: bool) -> list[httpx.AsyncClient]:
                return [await stack.enter_async_context(self._edge.client(**options)) for _ in range(CLIENTS)]

            clients = {
                "new connection": await several(keep=False),
                "HTTP/1.1": await several(),
                "HTTP/2": await several(http2=True),
            }
            listening = await several()
            listeners = [
                asyncio.create_task(self._listen(listening[number % CLIENTS], number))
                for number in range(self._streams)
            ]
            while self._open < self._streams and not self._stopping.is_set():
                await asyncio.sleep(0.01)
            self._began = time.monotonic()
            await asyncio.gather(self._ask_steadily(clients), self._write_steadily(clients["new connection"]))
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)

    async def _ask_steadily(self, clients: dict[str, list[httpx.AsyncClient]]) -> None:
        kinds = list(clients)

        def ask(number: int, due: float) -> Coroutine[Any, Any, object]:
            wanted = self._mix[number % len(self._mix)]
            kind = kinds[number // len(self._mix) % (len(kinds) if wanted.body is None else 2)]
            return self._ask(clients[kind][number % CLIENTS], kind, wanted, due)

        await self._steadily(self._rate, ask)

    async def _write_steadily(self, clients: list[httpx.AsyncClient]) -> None:
        def write(number: int, due: float) -> Coroutine[Any, Any, object]:
            self.written += 1
            return self._write(clients[number % CLIENTS], f"{self._mark} {number}", due)

        if self._writes:
            await self._steadily(self._writes, write)

    async def _steadily(self, rate: float, begin: Callable[[int, float], Coroutine[Any, Any, object]]) -> None:
        """Begin something so many times a second until the load stops, then wait for all of it."""
        begun: set[asyncio.Task[object]] = set()
        for number in count():
            due = self._began + number / rate
            await asyncio.sleep(due - time.monotonic())
            if self._stopping.is_set():
                break
            self.late = max(self.late, time.monotonic() - due)
            task = asyncio.create_task(begin(number, due))
            begun.add(task)
            task.add_done_callback(begun.discard)
        await asyncio.gather(*begun)

    async def _ask(self, client: httpx.AsyncClient, kind: str, ask: Ask, due: float) -> httpx.Response | None:
        """Ask once and note what came of it; return the answer if it is the one that there should be."""
        try:
            answer = await self._send(client, kind, ask)
        except httpx.HTTPError as error:
            self._fail(str(ask), kind, f"{type(error).__name__}: {error}".rstrip(": "))
            return None
        if answer.status_code != ask.status:
            self._fail(str(ask), kind, f"{answer.status_code} {answer.text[:100]}")
            return None
        seconds = time.monotonic() - due
        self.seconds.append(seconds)
        self.slowest = max(self.slowest, (seconds, f"{ask}, due after {due - self._began:.1f} s"))
        self.answered[str(ask)] += 1
        # Today's Tamma tells none.
        if ask.path == HEALTH and (version := answer.json().get("version")):
            now = time.monotonic() - self._began
            self.versions[version] = (self.versions.get(version, (now, now))[0], now)
            self.last_asked[version] = max(self.last_asked.get(version, 0), due - self._began)
        return answer

    async def _write(self, client: httpx.AsyncClient, title: str, due: float) -> None:
        """Write a row, and remember it if that was acknowledged."""
        answer = await self._ask(client, "new connection", Ask("POST", SESSIONS, 201, {"title": title}), due)
        if answer is not None:
            self.acknowledged[title] = answer.json()["id"]

    async def _send(self, client: httpx.AsyncClient, kind: str, ask: Ask) -> httpx.Response:
        """Send a request, over another connection if the first one was refused before it could be sent."""
        try:
            return await self._send_over(client, kind, ask)
        except httpx.ConnectError as error:
            if HANDSHAKE_REFUSED not in str(error) or self.refused >= MOST_REFUSED:
                raise
            self.refused += 1
            return await self._send_over(client, kind, ask)

    async def _send_over(self, client: httpx.AsyncClient, kind: str, ask: Ask) -> httpx.Response:
        """Send a request, and once more each time its kept connection was ended in good order."""
        for _ in range(0 if kind == "new connection" else TRIES - 1):
            trail, begun = _Trail(), time.monotonic()
            try:
                return await client.request(ask.method, ask.path, json=ask.body, extensions={"trace": trail})
            except httpx.HTTPError as error:
                if _is_going_away(error):
                    self._goaway[client] = time.monotonic()
                if not trail.may_be_sent_again(error, closed_by_h2=self._goaway.get(client, 0) > begun):
                    raise
                self.again += 1
        return await client.request(ask.method, ask.path, json=ask.body)

    async def _listen(self, client: httpx.AsyncClient, number: int) -> None:
        """Keep one event stream open, as a browser does."""
        cut: float | None = None
        while True:
            began = False
            trail = _Trail()
            try:
                async with client.stream(
                    "GET", self._events, headers={"Accept": "text/event-stream"}, extensions={"trace": trail}
                ) as answer:
                    if answer.status_code == 200:
                        began = True
                        self._open += 1
                        if cut is not None:
                            self._reopened(number, time.monotonic() - cut)
                        async for line in answer.aiter_lines():
                            self.events += line.startswith("data:")
                    else:
                        self._fail(f"GET {self._events}", "stream", str(answer.status_code))
            except httpx.HTTPError as error:
                if not began and trail.may_be_sent_again(error, closed_by_h2=False):
                    self.again += 1
                    continue
                if not began:
                    self._fail(f"GET {self._events}", "stream", f"{type(error).__name__}: {error}".rstrip(": "))
            if began:
                cut = time.monotonic()
                self.ends.append(Cut(number, cut - self._began, None))
            await asyncio.sleep(self._reconnect if began else max(self._reconnect, RETRY_SECONDS))

    def _reopened(self, number: int, seconds: float) -> None:
        last = max(place for place, end in enumerate(self.ends) if end.stream == number)
        self.ends[last] = self.ends[last]._replace(again=seconds)

    def _fail(self, ask: str, connection: str, reason: str) -> None:
        self.failures.append(Failure(time.monotonic() - self._began, ask, connection, reason))
