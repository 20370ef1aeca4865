# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups are kept: the newest ones, and the newest of each day, week and month."""

from __future__ import annotations

import datetime
from typing import Iterable, List, Mapping, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import moments

# Of which period the newest backup is kept: how its name is made from a time.
_PERIODS = {"daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m"}
RULES = ("last", *_PERIODS)


def expired(backups: Sequence[Tuple[str, str]], keep: Mapping[str, int]) -> List[str]:
    """The ids of the backups that no rule keeps, oldest first.

    backups: (id, time), time as ISO 8601 in UTC. keep: "last" → how many of the newest; "daily", "weekly", "monthly"
    → of how many of these periods with a backup the newest one. The newest backup is always kept.
    """
    newest_first = sorted(backups, key=lambda item: item[1], reverse=True)
    kept = {identifier for identifier, _time in newest_first[: max(1, keep.get("last", 0))]}
    for rule, form in _PERIODS.items():
        kept.update(_newest_of_each(newest_first, form, keep.get(rule, 0)))
    return [identifier for identifier, _time in reversed(newest_first) if identifier not in kept]


def _newest_of_each(newest_first: Iterable[Tuple[str, str]], form: str, count: int) -> List[str]:
    found: List[str] = []
    periods: List[str] = []
    for identifier, moment in newest_first:
        period = datetime.datetime.strptime(moment, moments.FORMAT).strftime(form)
        if period not in periods and len(periods) < count:
            periods.append(period)
            found.append(identifier)
    return found
