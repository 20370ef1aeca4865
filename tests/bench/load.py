"""A steady load on an edge: requests at a fixed rate and open event streams, and what became of them.

The rate does not wait for answers, and a request's time counts from the moment it was due: an edge that
stands still shows as many slow requests, not as a few.

A server that ends a kept connection in good order lets the client send elsewhere what it has not answered. Over
HTTP/1.1 it closes an idle connection, which may cross a request that is on its way: the client finds the connection
closed or, if the request arrives after that, reset. Browsers and curl then send that request once more, and so does
this; on a connection that was made for the request, or once an answer has begun, the same is a failure. Over HTTP/2
the server says GOAWAY and answers what it has taken, but Python's h2 reads nothing after that
(github.com/encode/httpcore/pull/1054): such a request is sent once more, there are only those that may be, and no
streams.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from .command import BenchError
from .edge import Edge

SECONDS_TO_BEGIN = 30
#: What the stand-in tells an event stream's client to wait before it connects again.
RECONNECT_SECONDS = 1.0
EVENTS = "/api/events"
#: How often a browser tries, over connections that it has kept.
TRIES = 3
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
    Ask("GET", "/api/health"),
    Ask("POST", EVENTS, 202, {"message": "load"}),
    Ask("GET", "/elsa-api/health"),
    Ask("POST", "/elsa-api/api/mentorship/sessions", 201, {"title": "load"}),
    Ask("GET", "/elsa-api/api/mentorship/sessions?limit=1"),
)


class Failure(NamedTuple):
    """A request without the answer that it should have."""

    second: float
    ask: str
    connection: str
    reason: str

    def __str__(self) -> str:
        return f"after {self.second:.1f} s: {self.ask} ({self.connection}): {self.reason}"


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

    def may_be_sent_again(self, error: httpx.HTTPError) -> bool:
        """Say whether a kept connection was ended before the request reached anybody."""
        if isinstance(error, httpx.RemoteProtocolError) and GOING_AWAY in str(error):
            return True
        ended = isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError))
        return ended and not self.fresh and not self.answered


class Load:
    """Asks from ``with`` to the end of its block; everything that was begun is waited for."""

    def __init__(self, edge: Edge, rate: float = 20, streams: int = 2, mix: Sequence[Ask] = MIX) -> None:
        self.failures: list[Failure] = []
        #: Kind of request -> how often it was answered.
        self.answered: Counter[str] = Counter()
        #: From the moment when it was due, of each answered request.
        self.seconds: list[float] = []
        #: How often an open event stream ended, and how many events came.
        self.cuts = 0
        #: How many requests were sent once more, because their kept connection had been ended.
        self.again = 0
        self.events = 0
        self._edge, self._rate, self._streams, self._mix = edge, rate, streams, mix
        self._began = time.monotonic()
        self._open = 0
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        self._thread.start()
        deadline = self._began + SECONDS_TO_BEGIN
        while self._open < self._streams or not self.seconds:
            if time.monotonic() > deadline or not self._thread.is_alive():
                self._stop()
                raise BenchError(f"The load did not begin: {self.report()}")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()
        if self._error and not error:
            raise self._error

    def report(self) -> str:
        """Say in a few lines how it went."""
        total = len(self.seconds) + len(self.failures)
        asked = f"{total} requests, {len(self.failures)} failed, {self.again} sent once more"
        lines = [f"{asked}; {self._streams} streams, cut {self.cuts} times"]
        if len(self.seconds) > 1:
            hundredths = statistics.quantiles(self.seconds, n=100, method="inclusive")
            p50, p99, longest = (1000 * value for value in (hundredths[49], hundredths[98], max(self.seconds)))
            lines.append(f"half within {p50:.0f} ms, 99 % within {p99:.0f} ms, the longest {longest:.0f} ms")
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
            clients = {
                "new connection": await stack.enter_async_context(self._edge.client(keep=False)),
                "HTTP/1.1": await stack.enter_async_context(self._edge.client()),
                "HTTP/2": await stack.enter_async_context(self._edge.client(http2=True)),
            }
            kinds = list(clients)
            listeners = [asyncio.create_task(self._listen(clients["HTTP/1.1"])) for _ in range(self._streams)]
            asked: set[asyncio.Task[None]] = set()
            for number in count():
                due = self._began + number / self._rate
                await asyncio.sleep(due - time.monotonic())
                if self._stopping.is_set():
                    break
                ask = self._mix[number % len(self._mix)]
                kind = kinds[number // len(self._mix) % (len(kinds) if ask.body is None else 2)]
                task = asyncio.create_task(self._ask(clients[kind], kind, ask, due))
                asked.add(task)
                task.add_done_callback(asked.discard)
            await asyncio.gather(*asked)
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)

    async def _ask(self, client: httpx.AsyncClient, kind: str, ask: Ask, due: float) -> None:
        try:
            answer = await self._send(client, kind, ask)
        except httpx.HTTPError as error:
            self._fail(str(ask), kind, f"{type(error).__name__}: {error}".rstrip(": "))
            return
        if answer.status_code != ask.status:
            self._fail(str(ask), kind, f"{answer.status_code} {answer.text[:100]}")
            return
        self.seconds.append(time.monotonic() - due)
        self.answered[str(ask)] += 1

    async def _send(self, client: httpx.AsyncClient, kind: str, ask: Ask) -> httpx.Response:
        """Send a request, and once more each time its kept connection was ended in good order."""
        for _ in range(TRIES - 1 if kind != "new connection" else 0):
            trail = _Trail()
            try:
                return await client.request(ask.method, ask.path, json=ask.body, extensions={"trace": trail})
            except httpx.HTTPError as error:
                if not trail.may_be_sent_again(error):
                    raise
                self.again += 1
        return await client.request(ask.method, ask.path, json=ask.body)

    async def _listen(self, client: httpx.AsyncClient) -> None:
        """Keep one event stream open, as a browser does."""
        while True:
            began = False
            try:
                async with client.stream("GET", EVENTS, headers={"Accept": "text/event-stream"}) as answer:
                    if answer.status_code == 200:
                        began = True
                        self._open += 1
                        async for line in answer.aiter_lines():
                            self.events += line.startswith("data:")
                    else:
                        self._fail(f"GET {EVENTS}", "stream", str(answer.status_code))
            except httpx.HTTPError as error:
                if not began:
                    self._fail(f"GET {EVENTS}", "stream", f"{type(error).__name__}: {error}".rstrip(": "))
            self.cuts += began
            await asyncio.sleep(RECONNECT_SECONDS)

    def _fail(self, ask: str, connection: str, reason: str) -> None:
        self.failures.append(Failure(time.monotonic() - self._began, ask, connection, reason))
