# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping secrets out of everything that people and logs see."""

from __future__ import annotations

from typing import Iterable, Set
from urllib.parse import quote

MASK = "********"

# Shorter values stand in ordinary text by chance; masking each of those would garble it.
_SHORTEST = 4


class Redactor:
    """Replaces known secrets in text, in the spellings in which they travel."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings: Set[str] = set()
        for secret in secrets:
            if len(secret) < _SHORTEST:
                continue
            spellings.update(
                (
                    secret,
                    quote(secret, safe=""),
                    secret.replace('"', '""'),
                    secret.replace("\\", "\\\\").replace('"', '\\"'),
                    secret.replace("$", "$$"),
                )
            )
        # The longest first, so that a secret that contains another one goes as a whole.
        self._spellings = sorted(spellings, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return *text* with every secret replaced."""
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text
