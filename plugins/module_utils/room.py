# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of bytes, and whether a file system has room for what is about to come to it."""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError


def human(count: int) -> str:
    """A number of bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return "%.0f %s" % (value, unit) if unit == "B" else "%.1f %s" % (value, unit)
        value /= 1024
    return "%.1f TiB" % value


class Need(NamedTuple):
    """What comes to a directory, which may not be there yet, and how many bytes that takes."""

    what: str
    directory: str
    bytes: int


def needed_and_free(directory: str, size: int) -> Tuple[int, int]:
    """Bytes that something of *size* needs on a directory's file system, with a reserve, and that are free there."""
    found = os.statvfs(_existing(directory))
    return int(1.1 * size) + (64 << 20), found.f_bavail * found.f_frsize


def check(needs: Sequence[Need], doing: str) -> None:
    """Raise OperatorError unless every file system has room for all that comes to it."""
    by_system: Dict[int, List[Need]] = {}
    for need in needs:
        by_system.setdefault(os.stat(_existing(need.directory)).st_dev, []).append(need)
    for together in by_system.values():
        needed, free = needed_and_free(together[0].directory, sum(need.bytes for need in together))
        if free < needed:
            raise OperatorError(
                "%s needs %s on the file system of %s, and %s are free: %s, and a reserve. Make room there first "
                "('tammactl discard --all' removes what former updates and restores keep). Nothing was changed."
                % (
                    doing,
                    human(needed),
                    together[0].directory,
                    human(free),
                    ", ".join("%s for %s" % (human(need.bytes), need.what) for need in together),
                )
            )


def _existing(directory: str) -> str:
    """The directory, or the nearest one above it that is there."""
    while not os.path.exists(directory):
        directory = os.path.dirname(directory)
    return directory
