# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log of a stack: who changed its release, from where, and what came of it, one JSON object a line.

Lines are only added. The log knows of releases that the history has forgotten long ago, and holds no secret.
"""

from __future__ import annotations

import json
import os
import pwd
from typing import Any, Callable, Dict, List, Mapping

from ansible_collections.meywd.tamma.plugins.module_utils import moments
from ansible_collections.meywd.tamma.plugins.module_utils.files import read

DIRECTORY = "/var/log/tamma"

# What somebody did to the release.
DEPLOY, ROLLBACK, RESUME, ROTATE, FOUND = "deploy", "rollback", "resume", "rotate", "found"


def path(project: str) -> str:
    """Where the log of a stack is."""
    return os.path.join(DIRECTORY, project + ".log")


def user() -> str:
    """Who works on this host: the one who became root with sudo, or whose process it is."""
    number = os.getuid()
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def tell(project: str, facts: Mapping[str, Any], progress: Callable[[str, str], None]) -> None:
    """Add a line, or tell the operator why there is none."""
    refused = append(project, facts)
    if refused:
        progress("log", "the audit log takes no line: %s" % refused)


def append(project: str, facts: Mapping[str, Any]) -> str:
    """Add a line, on the disk before this returns; return what went wrong: nobody is kept from working by a log."""
    line = {"time": moments.now(), "stack": project, "user": user(), **facts}
    # Of a problem the first line says what it was; the rest is of use at that moment alone.
    line["problem"] = next(iter(str(line.get("problem") or "").splitlines()), "")
    try:
        os.makedirs(DIRECTORY, 0o750, exist_ok=True)
        handle = os.open(path(project), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            os.fchmod(handle, 0o640)
            # In one piece: two lines never mix.
            os.write(handle, (json.dumps(line, sort_keys=True) + "\n").encode("utf-8", "surrogateescape"))
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as exc:
        return "%s: %s" % (exc.filename or path(project), exc.strerror)
    return ""


def lines(project: str) -> List[Dict[str, Any]]:
    """What the log says, oldest first; a line that a dying host left unfinished is passed over."""
    found = []
    for line in (read(path(project)) or "").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def present(project: str) -> List[str]:
    """The files of the log."""
    return [path(project)] if os.path.exists(path(project)) else []


def remove(project: str) -> None:
    """Remove the log, and the directory of all logs with the last one."""
    os.unlink(path(project))
    if not os.listdir(DIRECTORY):
        os.rmdir(DIRECTORY)
