# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching a stack for a while: whether it stays well, and whether its containers stay up."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

# Between two looks.
PAUSE_SECONDS = 3.0


def watch(
    look: Callable[[], Dict[str, Any]],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Look at a stack for so many seconds, as long as it is well; return what was seen last.

    look: says how the stack is (services, healthy). A trouble counts when it is there at two looks that follow one
    another, and so does a look that fails; a container that was started again since the first look counts at once, for
    it may be well in between.
    """
    until = clock() + seconds
    first: List[Mapping[str, Any]] = []
    troubles = 0
    while True:
        try:
            seen = look()
        except OperatorError:
            troubles += 1
            if troubles == 2:
                raise
        else:
            first = first or seen["services"]
            again = restarted(first, seen["services"])
            if again:
                return {**seen, "healthy": False, "restarted": again}
            troubles = 0 if seen["healthy"] else troubles + 1
            if troubles == 2 or (troubles == 0 and clock() >= until):
                return seen
        sleep(PAUSE_SECONDS)


def restarted(before: List[Mapping[str, Any]], after: List[Mapping[str, Any]]) -> List[str]:
    """The services with a container that is the same and began at another time."""
    began = {row["container"]: row["since"] for row in before if row["container"]}
    return sorted({row["service"] for row in after if began.get(row["container"], row["since"]) != row["since"]})
