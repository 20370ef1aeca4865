# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host's clock can be relied on: certificates and logins of others end and begin by it."""

from __future__ import annotations

import ctypes
from typing import Optional

# The kernel's own estimate of how far its clock may be off. It grows while nobody corrects the clock, and
# timedatectl calls a clock synchronised below the same limit.
_UNKNOWN_MICROSECONDS = 16000000


class _Timex(ctypes.Structure):
    """The beginning of adjtimex's struct timex, and room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    ]


def synchronised() -> Optional[bool]:
    """Whether something keeps this clock right; None when the kernel does not tell."""
    state = _Timex()
    try:
        done = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        return None
    return None if done < 0 else state.maxerror < _UNKNOWN_MICROSECONDS


def problem(ahead: float, most: float) -> Optional[str]:
    """Say that a host's clock and the controller's are too far apart; *ahead* is how many seconds the host's is."""
    if abs(ahead) <= most:
        return None
    return (
        "The clock of this host is %.0f seconds %s the controller's: let a time service (chrony) set the wrong one."
        % (
            abs(ahead),
            "ahead of" if ahead > 0 else "behind",
        )
    )


def ahead(at: float, before: float, after: float) -> float:
    """How far a clock is ahead that showed *at* somewhere between two moments of another; zero when it may be right."""
    return at - after if at > after else at - before if at < before else 0.0
