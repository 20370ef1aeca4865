# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed test shows of what a playbook said."""

from __future__ import annotations

from tests.tools.outcome import FOLLOWING, LAST, MOST, matters

NOISE = [f"TASK number {number}" for number in range(1000)]
SENTENCE = [
    "[ERROR]: Task failed: tamma-api (container tamma-tamma-api-1) was not ready after 8 s. Its last lines:",
    "tamma-api: the database says no",
]


def test_the_operators_sentence_and_the_services_last_lines_are_shown() -> None:
    shown = matters("\n".join(["E       " + line for line in [*NOISE, *SENTENCE, *NOISE]]))
    assert [line.removeprefix("E       ") for line in shown.splitlines()] == [
        *SENTENCE,
        *NOISE[: FOLLOWING - len(SENTENCE)],
        *NOISE[-LAST:],
    ]


def test_what_is_shown_has_an_end() -> None:
    shown = matters("\n".join(SENTENCE * 1000)).splitlines()
    assert len(shown) == MOST
    assert max(map(len, matters("x" * 10000).splitlines())) < 1000
