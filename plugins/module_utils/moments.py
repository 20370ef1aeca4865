# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments as records and people have them: ISO 8601 in UTC, to the second."""

from __future__ import annotations

import calendar
import time

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def text(seconds: float) -> str:
    """Write a moment, given in seconds since 1970."""
    return time.strftime(FORMAT, time.gmtime(seconds))


def now() -> str:
    """The present moment."""
    return text(time.time())


def seconds(moment: str) -> int:
    """Read a moment; ValueError for a text that is none."""
    return calendar.timegm(time.strptime(moment, FORMAT))
