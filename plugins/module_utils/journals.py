# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journals: what is under way on a host stands in a file until it has ended, and whoever comes next goes on with it."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Optional, TypeVar

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, write

Kind = TypeVar("Kind")


def pending(directory: str, path: str, kind: Callable[..., Kind], what: str, remedy: str) -> Optional[Kind]:
    """Read the journal at *path* below *directory*; None when nothing is under way.

    kind: the named tuple that it holds. what, remedy: for the OperatorError about one that cannot be read.
    """
    full = os.path.join(directory, path)
    text = read(full)
    if text is None:
        return None
    try:
        return kind(**json.loads(text))
    except (ValueError, TypeError) as exc:
        raise OperatorError("%s does not tell how far the last %s came (%s): %s" % (full, what, exc, remedy)) from exc


def note(directory: str, path: str, journal: Any) -> None:
    """Put a named tuple on the disk as the journal at *path*; its owner alone may read it."""
    write(directory, [File(path, json.dumps(journal._asdict()) + "\n", 0o600, secret=True)])
