# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restored database has to have of what its backup says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.inspection import Contents, inventory

NAMES = {"table public.a": "16385.700", "index public.a_pkey": "16386.700"}


def contents(**changed: Any) -> Contents:
    known: dict[str, Any] = {
        "objects": NAMES,
        "counts": {"public.a": 1, 'public."B"': 2},
        "sequences": {"public.s": (5, True)},
        "large_objects": 3,
        "plain": {"public.a": "public.a", 'public."B"': "public.B"},
    }
    return Contents(**{**known, **changed})


def manifest(**changed: Any) -> dict[str, Any]:
    """A manifest of such contents, as it is read."""
    known = contents()._asdict()
    known.update(objects=inventory(NAMES, NAMES), plain=None)
    found: dict[str, Any] = json.loads(json.dumps({**known, **changed}))
    return found


#: Of the first format: names without quotes, sequences as they were before the dump, a fingerprint that none has again.
FIRST = {
    "counts": {"public.a": 1, "public.B": 2},
    "sequences": {"public.s": 5},
    "large_objects": 3,
    "fingerprint": "f",
}


def test_the_same_has_no_differences() -> None:
    assert contents().differences(manifest()) == []
    assert contents().differences(FIRST) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"objects": {"table public.a": "2.9"}}, ["the index public.a_pkey is missing"]),
        ({"counts": {"public.a": 1, 'public."B"': 3}}, ['public."B" has 3 rows instead of 2']),
        ({"counts": {"public.a": 1}}, ['public."B" has no rows instead of 2']),
        ({"large_objects": 2}, ["2 large objects instead of 3"]),
        ({"sequences": {"public.s": (4, True)}}, ["the sequence public.s is at 4 instead of 5"]),
        ({"sequences": {"public.s": (6, True)}}, ["the sequence public.s is at 6 instead of 5"]),
        ({"sequences": {"public.s": (5, False)}}, ["the sequence public.s is at 5 (not used yet) instead of 5"]),
        ({"sequences": {}}, ["the sequence public.s is at nothing instead of 5"]),
    ],
)
def test_each_difference_has_its_words(changed: dict[str, Any], found: list[str]) -> None:
    assert contents(**changed).differences(manifest()) == found


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"counts": {"public.a": 1, 'public."B"': 3}}, ["public.B has 3 rows instead of 2"]),
        ({"sequences": {}}, ["the sequence public.s is not there"]),
        # A cycling one that has begun anew between the count and the dump, and one that somebody has set back.
        ({"sequences": {"public.s": (1, True)}}, []),
        ({"objects": {}}, []),
    ],
)
def test_a_backup_of_a_former_version_is_compared_by_what_it_knows(changed: dict[str, Any], found: list[str]) -> None:
    assert contents(**changed).differences(FIRST) == found


def test_only_what_stays_the_same_during_a_dump_has_to_be_in_it() -> None:
    before = {"table a": "1.700", "table gone": "2.700", "table made anew": "3.700", "column changed": "4.1.700"}
    after = {"table a": "1.700", "table made anew": "9.705", "column changed": "4.1.706", "table new": "10.707"}
    assert inventory(before, after) == ["table a"]


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 5)), st.dictionaries(st.text(max_size=3), st.integers(0, 5)))
def test_no_difference_of_counts_is_missed(one: dict[str, int], other: dict[str, int]) -> None:
    found = contents(counts=one).differences(manifest(counts=other))
    assert bool(found) == (one != other)
    assert len(found) <= 4
