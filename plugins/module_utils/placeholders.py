# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that are none: what stands in examples and defaults, and what everybody would try first."""

from __future__ import annotations

import re
from typing import Iterable, List, Mapping

# What placeholders, defaults and first guesses are made of. A value that consists of such words alone is refused,
# whatever stands between them; a test holds every default of the stack's files against this.
_WORDS = re.findall(
    r"\w+",
    """
    a access admin administrator anthropic at away bar base baseball baz bench bot change changed changeit changeme
    characters chars client database default demo dev developer development do dotnet dragon dummy edit elsa empty enter
    example fill fixme foo football for from generate generated ghp github guest hello here hex hunter iloveyou in init
    insert into is it jwt key keys least length letmein local login long longer mail master me meywd min minimum monkey
    must my name new nil no none not nothing null of only openssl or org pass passphrase passw passwd password phrase
    placeholder please pls postgres postgresql private prod production public put pwd pw qwert qwerty qwertz rabbit
    rabbitmq rand random real replace replaceme root safe sample secret secrets secure server set shadow sign signing
    some something staging string strong sufficiently sunshine super sysadmin system tamma temp temporary test tester
    testing that the this throw throwaway to todo token tokens trustno undefined unknown unset unsafe use user username
    value very welcome with world write xxx you your yours
    """,
)
# In a text without any of these the short ones have come together by chance.
_LONG_WORDS = [word for word in _WORDS if len(word) > 2]

# What the keys of GitHub and Anthropic begin with: an example keeps it.
_PREFIX = re.compile(r"^(?:gh[pousr]_|github_pat_|sk-ant-(?:api\d\d-)?)", re.IGNORECASE)

_LOOKALIKES = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})

# Rows along which fingers run; digits go round.
_ROWS = ("1234567890" * 13, "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "abcdefghijklmnopqrstuvwxyz")

_FEWEST_CHARACTERS = 8
_FEWEST_DIFFERENT = 4
# A number that is longer is no decoration any more, but for 12345 and its like.
_LONGEST_YEAR = 4


def is_placeholder(value: str) -> bool:
    """Whether a secret can be guessed: a placeholder, a default, or too little of anything.

    >>> is_placeholder("Change_this-in.Production!"), is_placeholder("P@ssw0rd2026"), is_placeholder("k9Zr-41xTbQw")
    (True, True, False)
    """
    text = _PREFIX.sub("", value).casefold()
    if len(value) < _FEWEST_CHARACTERS or len(set(text)) < _FEWEST_DIFFERENT or _is_row(text):
        return True
    readings = [text]
    if 2 * sum(char.isalpha() for char in text) >= len(text):
        # Not at the end: "!" and digits are there what they are.
        readings += [text.rstrip(end).translate(_LOOKALIKES) for end in ("", "!", "!0123456789")]
    return any(_is_made_of_words(reading) for reading in readings)


def _is_row(text: str) -> bool:
    return any(text in row or text in row[::-1] for row in _ROWS)


def _is_made_of_words(text: str) -> bool:
    """Whether nothing is left without separators and short or obvious numbers but our words, one of them a real one."""
    letters = re.sub(r"\d+", _number, re.sub(r"[\W_]+", "", text))
    ends = {0}
    for start in range(len(letters)):
        if start in ends:
            ends.update(start + len(word) for word in _WORDS if letters.startswith(word, start))
    return len(letters) in ends and any(word in letters for word in _LONG_WORDS)


def _number(found: "re.Match[str]") -> str:
    digits = found.group()
    return "" if len(digits) <= _LONGEST_YEAR or _is_row(digits) else digits


def found(names: Iterable[str], values: Mapping[str, str]) -> List[str]:
    """The *names* whose values are placeholders; one without a value is none."""
    return [name for name in names if values.get(name) and is_placeholder(values[name])]


def refusal(name: str) -> str:
    """The sentence for a placeholder that somebody has given."""
    return "%s is a placeholder or easily guessed, which production refuses: give it another value." % name
