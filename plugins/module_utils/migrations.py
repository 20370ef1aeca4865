# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the services' migrations of the database went well: their health does not tell.

The .NET API catches a migration that failed and goes on to answer that it is healthy.
"""

from __future__ import annotations

import re
from typing import Callable, List

from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

_LINES = 500
_SHOWN = 5

# How Entity Framework and those who call it say that a migration failed.
_FAILURE = re.compile(
    r"Failed executing DbCommand|(?:error|exception)[^\n]{0,60}\bmigrat"
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

Progress = Callable[[str, str], None]


def failures(lines: List[str]) -> List[str]:
    """The lines of a log that tell of a failed migration, and what follows the first of them."""
    for number, line in enumerate(lines):
        if _FAILURE.search(line) and not _FINE.search(line):
            return lines[number : number + _SHOWN]
    return []


def check(engine: Engine, stack: Stack, progress: Progress, since: int) -> None:
    """Look through the logs of the services that write to the database. Raises OperatorError for a failed migration.

    since: seconds of the epoch; what was written earlier does not count.
    """
    for name in stack.writers:
        for item in stack.running(name):
            found = [stack.mask(line) for line in failures(engine.logs(item["Id"], _LINES, since))]
            if found:
                raise OperatorError(
                    "%s says that it is healthy, but its migration of the database failed:\n%s\nWhat to do: this "
                    "release cannot run on this database: take the lines to its developers."
                    % (name, "\n".join("  " + line for line in found)),
                    service=name,
                    log=found,
                )
    progress("verify", "no migration of the database failed")
