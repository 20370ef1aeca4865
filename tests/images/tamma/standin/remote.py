"""Calls to the other services: JSON over HTTP."""

import json
import urllib.error
import urllib.request
from typing import Any

SECONDS = 10


class RemoteError(Exception):
    """The other service did not answer as expected; says how. status: of its answer, 0 when there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def call(method: str, url: str, content: Any = None, headers: dict[str, str] | None = None, context: Any = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    try:
        request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
        if data is not None:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=SECONDS, context=context) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        raise RemoteError(f"{method} {url} answered {error.code}", error.code) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise RemoteError(f"{method} {url}: {reason}") from None
