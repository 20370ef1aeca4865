"""One request, and what came back."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Reply(NamedTuple):
    """status: 0 when nobody answered."""

    status: int
    text: str
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.text)


def ask(
    url: str, method: str = "GET", data: Any = None, headers: dict[str, str] | None = None, seconds: float = 60
) -> Reply:
    """Send one request; of a stream without an end return what came within the time."""
    end = time.monotonic() + seconds
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            parts = []
            while time.monotonic() < end and (part := answer.read1(65536)):
                parts.append(part)
            return Reply(answer.status, b"".join(parts).decode(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.read().decode(errors="replace"), dict(error.headers))
    except OSError:
        return Reply(0, "", {})


def until(value: Callable[[], T], seconds: float) -> T:
    """Return the first value that is true, or the last one when the time is over."""
    end = time.monotonic() + seconds
    while not (found := value()) and time.monotonic() < end:
        time.sleep(0.05)
    return found
