# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of the operator."""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.printable import printable


class OperatorError(Exception):
    """What failed and what to do about it, in words for the operator.

    The message is complete by itself. The facts are what a bug report would want (a command, its
    exit status, its last lines); they carry no secret.
    """

    def __init__(self, message: str, **facts: Any) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        self.facts = facts


def of_the_system(exc: OSError) -> str:
    """A full disk, a file system that is read-only: the system's own words say it best, with the place."""
    return "%s: %s." % (exc.filename or "The host", exc.strerror or exc)


def is_interruption(failure: BaseException) -> bool:
    """Whether somebody has interrupted what failed, and wants no more to be done."""
    cause: Optional[BaseException] = failure
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__
    return cause is not None
