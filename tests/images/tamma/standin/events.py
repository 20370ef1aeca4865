"""Hands every event to everyone who listens at that moment."""

import json
import queue
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from .process import stopping

HEARTBEAT_SECONDS = 10
REMEMBERED = 20


class Events:
    def __init__(self) -> None:
        self._lock = Lock()
        self._number = 0
        self._recent: deque[str] = deque(maxlen=REMEMBERED)
        self._listeners: set[queue.SimpleQueue[str]] = set()

    def publish(self, kind: str, content: dict[str, Any]) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._number += 1
            data = json.dumps({"type": kind, "time": moment, **content})
            block = f"id: {self._number}\nevent: {kind}\ndata: {data}\n\n"
            self._recent.append(block)
            for listener in self._listeners:
                listener.put(block)

    def stream(self) -> Iterator[str]:
        """Yield the latest events, then each new one, with a heartbeat when it is quiet."""
        listener: queue.SimpleQueue[str] = queue.SimpleQueue()
        with self._lock:
            blocks = list(self._recent)
            self._listeners.add(listener)
        try:
            yield "retry: 1000\n\n"
            yield from blocks
            quiet = 0.0
            while not stopping.is_set():
                try:
                    # Short, so that a service which is told to stop does not wait for a heartbeat.
                    yield listener.get(timeout=0.5)
                    quiet = 0.0
                except queue.Empty:
                    quiet += 0.5
                    if quiet >= HEARTBEAT_SECONDS:
                        quiet = 0.0
                        yield "event: heartbeat\ndata: {}\n\n"
        finally:
            with self._lock:
                self._listeners.discard(listener)
