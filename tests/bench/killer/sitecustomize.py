"""Kills an operator at one of its effects on a stack; Python reads this file at its start.

The operator knows nothing of it. An effect is what it replaces, renames or removes in the stack's directory, in
volumes, and where it keeps what it knows; a program that it starts and that changes something; SQL that does; and
such a request to the engine. Each has a name that is the same in every run, such as "replace .env #1": the first
replacement of that file. All that happens is written to a log; which one is the last, and whether it still
happens, stands in plan.json. There a shell script can take the place of the death, and a clock can be set:
seconds by which time.time() is ahead.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
#: Where effects on files count, and how their names begin there.
PLACES = {
    "/opt/tamma/": "",
    "/run/tamma/tamma-": "tmpfs ",
    "/var/lib/tamma/tamma/": "records ",
    "/var/lib/docker/volumes/tamma_": "volume ",
}
CHANGING = {
    "docker-compose": ("up", "exec", "down", "pull"),
    "restic": ("init", "unlock", "backup", "forget", "prune", "restore"),
    "docker": ("pg_dump", "pg_restore"),
}
SQL = re.compile(r"(?:^|; )((?:CREATE|ALTER|DROP|GRANT|REVOKE)(?: ALL ON)? (?:DATABASE|ROLE)[^;\0]*)")

_counts: collections.Counter[str] = collections.Counter()
_lock = threading.Lock()
_inside = threading.local()


def _plan() -> dict[str, Any]:
    try:
        with open(os.path.join(HERE, "plan.json"), encoding="utf-8") as file:
            plan: dict[str, Any] = json.load(file)
            return plan
    except FileNotFoundError:
        return {}


PLAN = _plan()


@contextlib.contextmanager
def _effect(description: str) -> Iterator[None]:
    # What is different in every run: ids, moments, names of temporary directories, numbers of releases.
    description = re.sub(r"[0-9a-f]{64}|\d{8}[tT]\d{6}[zZ](-[0-9a-f]{4})?", "…", description)
    description = re.sub(r"(tamma-[a-z]+-)[0-9a-f]{16}\b", r"\1…", description)
    description = re.sub(r"(backup|restore|candidate)-[a-z0-9_]{8}\b", r"\1-…", description)
    description = re.sub(r"(_guard_|_failed_|releases/)\d+\b", r"\1…", description)
    if description.startswith("sql "):
        description = description[:90]
    with _lock:
        _counts[description] += 1
        name = "%s #%d" % (description, _counts[description])
        with open(os.path.join(HERE, "effects.log"), "a", encoding="utf-8") as log:
            log.write(name + "\n")
    _inside.effect = name
    try:
        _strike("before")
        try:
            yield
        finally:
            # Also after what was in vain, such as to remove what is not there.
            _strike("after")
    finally:
        _inside.effect = ""


def _strike(when: str) -> None:
    if (when, _inside.effect) != (PLAN.get("when"), PLAN.get("effect")):
        return
    if "script" not in PLAN:
        os.kill(os.getpid(), signal.SIGKILL)
    _system(PLAN["script"])


def _wrap(function: Any, describe: Callable[..., str | None]) -> Any:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        # An effect that is part of another one is not told by itself.
        description = None if getattr(_inside, "effect", "") else describe(*arguments, **named)
        if description is None:
            return function(*arguments, **named)
        with _effect(description):
            return function(*arguments, **named)

    return functools.update_wrapper(wrapped, function)


def _known(verb: str, path: Any, directory: int | None = None) -> str | None:
    """*directory*: an open one that the path is relative to."""
    path = path if isinstance(path, int) else os.fspath(path)
    if directory is not None:
        path = os.path.join(os.readlink("/proc/self/fd/%d" % directory), path)
    for place, name in PLACES.items():
        if isinstance(path, str) and path.startswith(place):
            return "%s %s%s" % (verb, name, path[len(place) :])
    return None


def _command(argv: list[str], *_: Any, **__: Any) -> str | None:
    # What starts the program may stand before it.
    program = next((os.path.basename(word) for word in argv if os.path.basename(word) in CHANGING), "")
    words = [word for word in argv if word[:1] not in "-/"]
    verb = next((word for word in words if word in CHANGING.get(program, ())), None)
    if verb is None:
        return None
    if program == "docker-compose":
        return " ".join(words[words.index(verb) : words.index(verb) + 3])
    return verb if program == "docker" else "%s %s" % (program, verb)


def _request(_connection: Any, method: str, path: str, *_: Any, **__: Any) -> str | None:
    return None if method == "GET" else "%s %s" % (method, path.partition("?")[0])


def _statement(_socket: Any, data: Any, *_: Any, **__: Any) -> str | None:
    found = SQL.search(bytes(data[5:]).decode("utf-8", "replace")) if bytes(data[:1]) == b"Q" else None
    return "sql " + found.group(1) if found else None


def _start(self: Any, argv: list[str], *arguments: Any, **named: Any) -> None:
    _start_process(self, argv, *arguments, **named)
    if getattr(_inside, "effect", ""):
        _strike("during")


_system = os.system
_start_process = subprocess.Popen.__init__
os.replace = _wrap(os.replace, lambda _source, target, **_: _known("replace", target))
os.rename = _wrap(os.rename, lambda source, *_, src_dir_fd=None, **__: _known("rename", source, src_dir_fd))
os.unlink = _wrap(os.unlink, lambda path, *_, dir_fd=None: _known("remove", path, dir_fd))
setattr(shutil, "rmtree", _wrap(shutil.rmtree, lambda path, *_, **__: _known("remove tree", path)))  # noqa: B010
subprocess.run = _wrap(subprocess.run, _command)
# In a pipeline the operator is there while its programs work.
setattr(subprocess.Popen, "__init__", _wrap(_start, lambda _self, argv, *_, **__: _command(argv)))  # noqa: B010
setattr(socket.socket, "sendall", _wrap(socket.socket.sendall, _statement))  # noqa: B010
setattr(http.client.HTTPConnection, "request", _wrap(http.client.HTTPConnection.request, _request))  # noqa: B010
if PLAN.get("clock"):
    _now = time.time
    time.time = lambda: _now() + float(PLAN["clock"])
