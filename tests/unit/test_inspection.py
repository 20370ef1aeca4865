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

from ansible_collections.meywd.tamma.plugins.module_utils.inspection import Contents, parts


def contents(**changed: Any) -> Contents:
    known: dict[str, Any] = {
        "counts": {("public", "a"): 1, ("public", "B"): 2},
        "sequences": {("public", "s"): (5, True)},
        "large_objects": 3,
    }
    return Contents(**{**known, **changed})


def manifest(**changed: Any) -> dict[str, Any]:
    """A manifest of such contents, as it is read."""
    known = {
        "format": 2,
        "counts": {"public.a": 1, 'public."B"': 2},
        "sequences": {"public.s": (5, True)},
        "large_objects": 3,
    }
    found: dict[str, Any] = json.loads(json.dumps({**known, **changed}))
    return found


#: Of the first format: names without quotes, sequences as they were before the dump, a fingerprint that none has again.
FIRST = {
    "format": 1,
    "counts": {"public.a": 1, "public.B": 2},
    "sequences": {"public.s": 5},
    "large_objects": 3,
    "fingerprint": "f",
}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("public.a", ("public", "a")),
        ('"a.b"."c ""d"""', ("a.b", 'c "d"')),
        # Versions differ in which words they quote.
        ('"public"."json"', ("public", "json")),
        ('public."line\nbreak"', ("public", "line\nbreak")),
    ],
)
def test_a_name_is_the_same_however_it_is_quoted(name: str, found: tuple[str, str]) -> None:
    assert parts(name) == found


def test_the_same_has_no_differences() -> None:
    assert contents().differences(manifest()) == []
    assert contents().differences(FIRST) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"counts": {("public", "a"): 1, ("public", "B"): 3}}, ["public.B has 3 rows instead of 2"]),
        ({"counts": {("x", "y"): 1}}, ["x.y has 1 rows instead of none at all"]),
        # That a table is missing is found by its definition; an extension brings rows of its own.
        ({"counts": {("public", "a"): 1}}, []),
        ({"large_objects": 2}, ["2 large objects instead of 3"]),
        ({"sequences": {("public", "s"): (4, True)}}, ["the sequence public.s is at 4 instead of 5"]),
        ({"sequences": {("public", "s"): (6, True)}}, ["the sequence public.s is at 6 instead of 5"]),
        ({"sequences": {("public", "s"): (5, False)}}, ["the sequence public.s is at 5 (not used yet) instead of 5"]),
    ],
)
def test_each_difference_has_its_words(changed: dict[str, Any], found: list[str]) -> None:
    assert contents(**changed).differences(manifest()) == found


def test_rows_that_a_dump_has_at_the_root_are_compared_together() -> None:
    """Those of a hash may come to another partition than the one they were in."""
    leaves = {("public", "h0"): 25, ("public", "h1"): 75}
    known: dict[str, Any] = {"counts": leaves, "partitions": dict.fromkeys(leaves, ("public", "h"))}
    wanted = manifest(counts={"public.h": 100})
    assert contents(roots={("public", "h"): 100}, **known).differences(wanted) == []
    assert contents(roots={("public", "h"): 99}, **known).differences(wanted) == ["public.h has 99 rows instead of 100"]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"counts": {("public", "a"): 1, ("public", "B"): 3}}, ["public.B has 3 rows instead of 2"]),
        # A cycling one that has begun anew between the count and the dump, and one that somebody has set back.
        ({"sequences": {("public", "s"): (1, True)}}, []),
    ],
)
def test_a_backup_of_a_former_version_is_compared_by_what_it_knows(changed: dict[str, Any], found: list[str]) -> None:
    assert contents(**changed).differences(FIRST) == found


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 5)), st.integers(1, 5))
def test_no_other_number_of_rows_is_missed(wanted: dict[str, int], more: int) -> None:
    quoted = {'public."%s"' % name.replace('"', '""'): rows for name, rows in wanted.items()}
    present = {("public", name): rows for name, rows in wanted.items()}
    assert contents(counts=present).differences(manifest(counts=quoted)) == []
    for name in present:
        other = {**present, name: present[name] + more}
        assert contents(counts=other).differences(manifest(counts=quoted)) != []
