# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of others (a container's log, a server's answer) that does nothing to the terminal of whoever reads it."""

from __future__ import annotations

import re
import unicodedata

# Colours and the like, which programs write that take their log for a terminal: away with them.
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")
# Beside those that Unicode calls control characters: what turns the direction of a line.
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def printable(text: str) -> str:
    """The text without colours, and with every other control character but tab and line break written out (\\x1b)."""
    text = _COLOUR.sub("", text)
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(sign: str) -> str:
    if sign in "\t\n" or not (unicodedata.category(sign) in ("Cc", "Cs") or sign in _TURNS):
        return sign
    return sign.encode("unicode_escape").decode("ascii")
