"""Kills an operator at one of its effects on a stack; Python reads this file at its start.

The operator knows nothing of it. An effect is what it replaces or removes in the stack's directory, a
Compose command that changes something, and a request to the engine that does. Each has a name that
is the same in every run, such as "replace .env #1": the first replacement of that file. All that
happens is written to a log; which one is the last, and whether it still happens, stands in plan.json.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
STACK = "/opt/tamma/"
CHANGING = ("up", "exec", "down")

_counts: collections.Counter[str] = collections.Counter()
_lock = threading.Lock()


def _plan() -> dict[str, str]:
    try:
        with open(os.path.join(HERE, "plan.json"), encoding="utf-8") as file:
            plan: dict[str, str] = json.load(file)
            return plan
    except FileNotFoundError:
        return {}


PLAN = _plan()


@contextlib.contextmanager
def _effect(description: str) -> Iterator[None]:
    with _lock:
        _counts[description] += 1
        name = "%s #%d" % (description, _counts[description])
        with open(os.path.join(HERE, "effects.log"), "a", encoding="utf-8") as log:
            log.write(name + "\n")
    planned = name == PLAN.get("effect")
    if planned and PLAN["when"] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    yield
    if planned:
        os.kill(os.getpid(), signal.SIGKILL)


def _wrap(function: Any, describe: Callable[..., str | None]) -> Any:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        description = describe(*arguments)
        if description is None:
            return function(*arguments, **named)
        with _effect(description):
            return function(*arguments, **named)

    return wrapped


def _below_the_stack(verb: str, path: str) -> str | None:
    path = os.fspath(path)
    return "%s %s" % (verb, path[len(STACK) :]) if path.startswith(STACK) else None


def _command(argv: list[str], *_: Any) -> str | None:
    words = [word for word in argv[1:] if not word.startswith("-") and not word.startswith("/")]
    verb = next((word for word in words if word in CHANGING), None)
    if "docker-compose" not in argv[0] or verb is None:
        return None
    return " ".join(words[words.index(verb) : words.index(verb) + 3])


def _request(_connection: Any, method: str, path: str, *_: Any) -> str | None:
    return None if method == "GET" else re.sub("[0-9a-f]{64}", "…", "%s %s" % (method, path.partition("?")[0]))


os.replace = _wrap(os.replace, lambda _source, target: _below_the_stack("replace", target))
os.unlink = _wrap(os.unlink, lambda path, *_: _below_the_stack("remove", path))
subprocess.run = _wrap(subprocess.run, _command)
setattr(http.client.HTTPConnection, "request", _wrap(http.client.HTTPConnection.request, _request))  # noqa: B010
