# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the services' migrations of the database went well: their health does not tell.

The .NET API catches a migration that failed and goes on to answer that it is healthy. Two witnesses are heard: what a
service says about its migrations while it starts, and the table in which Entity Framework notes those that it has made.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, Iterable, List, Set

from ansible_collections.meywd.tamma.plugins.module_utils import gate
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession, identifier
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# A service that cannot reach another one says so in some hundred lines a minute.
_LINES = 20000
_SHOWN = 5

# How those who call Entity Framework say that a migration failed. A statement that failed is none: requests have those.
_FAILURE = re.compile(
    r"(?:error|exception)[^\n]{0,60}\bmigrat"
    r"|\bmigrat\w*[^\n]{0,60}\b(?:failed|error|exception)"
    r"|PendingModelChangesWarning",
    re.I,
)

# What sounds like it and tells the contrary: "migrations applied, 0 failed", "no error", "errors: 0".
_FINE = re.compile(
    r"\b(?:0|no|zero|without)\s+(?:any\s+)?(?:error|fail|exception)"
    r"|\b(?:errors?|failed|failures?|exceptions?)\s*[:=]\s*0\b",
    re.I,
)

# Why nothing was tried: the database was away.
_AWAY = re.compile(
    r"Failed to connect|Connection refused|57P0[123]|53300|Exception while (?:reading|writing)|Timeout during"
    r"|Name or service not known|Temporary failure in name resolution|No route to host|transient failure",
    re.I,
)

# From here on a service works: what fails then is a request.
_LISTENS = re.compile(r"Now listening on|Application started", re.I)

_APPLIES = re.compile(r"Applying migration '([^']+)'")

_HISTORIES = """
SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relname = '__EFMigrationsHistory' AND relkind = 'r' ORDER BY 1"""

# Which setting says how much a service writes that only warns of a migration that fails, and what is too little then.
_LEVELS = {"tamma-api-dotnet": "DOTNET_LOG_LEVEL"}
_TOO_HIGH = ("Error", "Fatal")

Progress = Callable[[str, str], None]


def failures(lines: List[str]) -> List[str]:
    """The lines of a service's start that tell of a failed migration, and what follows the first of them."""
    for number, line in enumerate(lines):
        if _LISTENS.search(line):
            break
        following = lines[number : number + _SHOWN]
        if _FAILURE.search(line) and not _FINE.search(line) and not any(map(_AWAY.search, following)):
            return following
    return []


def untried(lines: List[str]) -> bool:
    """Whether a service says at its start that its migration failed because the database was away."""
    for number, line in enumerate(lines):
        if _LISTENS.search(line):
            return False
        if _FAILURE.search(line) and any(map(_AWAY.search, lines[number : number + _SHOWN])):
            return True
    return False


def unfinished(lines: List[str], made: Iterable[str]) -> List[str]:
    """The lines that begin a migration which is not among those that were *made*."""
    known = set(made)
    found = [(line, match.group(1)) for line in lines for match in _APPLIES.finditer(line)]
    return sorted({line for line, name in found if name not in known})


def history(session: PostgresSession) -> Set[str]:
    """The migrations that the services say they have made in a database."""
    found: Set[str] = set()
    for (schema,) in session.query(_HISTORIES):
        # Interpolated is a name quoted for SQL.
        statement = 'SELECT "MigrationId" FROM %s."__EFMigrationsHistory"'
        found.update(row[0] or "" for row in session.query(statement % identifier(schema or "")))
    return found


def unheard(started: float, lines: List[str], level: str, since: int) -> str:
    """Why the log of a service that *started* at a moment cannot tell of a failed migration; nothing when it can.

    level: Serilog's word for what the service writes at all.
    """
    if started < since:
        return ""
    if not lines:
        return "has written nothing since its start"
    return "writes nothing below %s" % level if level in _TOO_HIGH else ""


def check(engine: Engine, stack: Stack, progress: Progress, since: int) -> None:
    """Hear both witnesses about the services that write to the database. Raises OperatorError for a failed migration.

    since: seconds of the epoch; what was written earlier does not count.
    """
    with Database(stack).session() as session:
        made = history(session)
    deaf: Dict[str, str] = {}
    away: Set[str] = set()
    for name in stack.writers:
        for item in stack.running(name):
            lines = engine.logs(item["Id"], _LINES, since)
            why = unheard(
                gate.started_at(engine.container(item["Id"]) or {"State": {}}),
                lines,
                stack.settings.get(_LEVELS.get(name, ""), ""),
                since,
            )
            if why:
                deaf[name] = why
            # Another service ends then, and tries again with its next start.
            if name in _LEVELS and untried(lines):
                away.add(name)
            found = [stack.mask(line) for line in failures(lines) or unfinished(lines, made)]
            if found:
                raise OperatorError(
                    "%s says that it is healthy, but its migration of the database failed:\n%s\nWhat to do: this "
                    "release cannot run on this database: take the lines to its developers."
                    % (name, "\n".join("  " + line for line in found)),
                    service=name,
                    log=found,
                )
    silent = deaf or away
    progress("verify", "no migration of the database failed" if not silent else "no failed migration is known")
    for name in sorted(away):
        progress(
            "verify",
            "%s could not reach the database when it started, and does not try again to migrate it: type "
            "'%s compose restart %s' in %s." % (name, engine.kind, name, stack.directory),
        )
    for name, why in sorted(deaf.items()):
        progress(
            "verify",
            "%s %s: a migration that failed before it began would not be seen; the last one that the database knows is "
            "%s" % (name, why, max(made, default="none")),
        )
