# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container writes does nothing to the terminal of whoever reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.printable import printable
from ansible_collections.meywd.tamma.plugins.module_utils.progress import ProgressFile


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[32minfo\x1b[39m: ready", "info: ready"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b[2J\x1b[H", "\\x1b[2J\\x1b[H"),
        ("\x1b[8mhidden", "hidden"),
        ("\x9b2J", "\\x9b2J"),
        ("good\rbad", "good\\rbad"),
        ("a\u202eb", "a\\u202eb"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("Grüße, 日本, 👍🏽", "Grüße, 日本, 👍🏽"),
        ("\ud800", "\\ud800"),
    ],
)
def test_signs_that_steer_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_steers_is_left(text: str) -> None:
    shown = printable(text).replace("\t", "").replace("\n", "")
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in shown)
    assert printable(printable(text)) == printable(text)


def test_sentences_and_progress_do_not_steer() -> None:
    assert OperatorError("It says \x1b[2Jno.").message == "It says \\x1b[2Jno."
    progress = ProgressFile()
    progress("look", "at \x1b]0;x\x07")
    assert "\x1b" not in progress.lines[0]
