"""Numbered steps with their seconds, from any number of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print one line at once, so that a log shows it when it happens."""
    print(text, flush=True)


class Progress:
    """Counts the steps of one piece of work as they begin."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._begun = 0
        self._lock = threading.Lock()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, and its seconds when it is done."""
        with self._lock:
            self._begun += 1
            label = f"[{self._begun}/{self._total}] {title}"
        say(f"{label} ...")
        begin = time.monotonic()
        yield
        say(f"{label} ... {time.monotonic() - begin:.0f} s")
