# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling the operator what happens while it happens."""

from __future__ import annotations

import os
import threading
import time
from typing import List

from ansible_collections.meywd.tamma.plugins.module_utils.printable import printable


class ProgressFile:
    """Collects lines and, when it has a path, writes each to a file that somebody follows.

    The file is readable by its owner alone and is removed at the end.
    """

    def __init__(self, path: str = "") -> None:
        self.lines: List[str] = []
        self._path = path
        self._began = time.monotonic()
        self._lock = threading.Lock()
        if path:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def __call__(self, phase: str, words: str) -> None:
        """Report that *phase* has come to what *words* say; secrets are masked by the caller."""
        line = "%5.1f s  %-6s  %s" % (time.monotonic() - self._began, phase, printable(words))
        with self._lock:
            self.lines.append(line)
            if self._path:
                with open(self._path, "a", encoding="utf-8") as handle:
                    handle.write(line + "\n")

    def close(self) -> None:
        """Remove the file; the lines stay."""
        if self._path and os.path.exists(self._path):
            os.unlink(self._path)
