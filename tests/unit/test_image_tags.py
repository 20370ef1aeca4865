# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tags of an image, from a branch, a tag and a commit."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.image_tags import branch_tag, stays, tags, version

SHA = "3610115" + "0" * 33
OF_A_REGISTRY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"branch": "main"}, ["latest"]),
        ({"branch": "trunk", "default_branch": "trunk"}, ["latest"]),
        ({"branch": "main", "default_branch": "trunk"}, ["branch-main"]),
        ({"branch": "feat/engine-mvp"}, ["branch-feat-engine-mvp"]),
        ({}, []),
        ({"tag": "v1.2.3"}, ["1.2.3", "1.2", "1"]),
        ({"tag": "1.2.3"}, ["1.2.3", "1.2", "1"]),
        ({"tag": "v1.2.3", "branch": "main"}, ["1.2.3", "1.2", "1"]),
        ({"tag": "v0.2.0"}, ["0.2.0", "0.2"]),
        ({"tag": "v1.2.3-rc.1"}, ["1.2.3-rc.1"]),
        ({"tag": "nightly"}, []),
        ({"tag": "v1.2"}, []),
        ({"tag": "v01.2.3"}, []),
        # A correction of an old version is not what people get who ask for the newest.
        ({"tag": "v1.1.5", "releases": ["v1.1.4", "v1.2.0"]}, ["1.1.5", "1.1"]),
        ({"tag": "v1.2.1", "releases": ["v1.2.0", "v2.0.0", "v1.3.0-rc.1"]}, ["1.2.1", "1.2", "1"]),
        ({"tag": "v1.2.1", "releases": ["v1.2.10"]}, ["1.2.1"]),
    ],
)
def test_what_an_image_is_called_beside_its_commit(given_: dict[str, object], expected: list[str]) -> None:
    assert tags(SHA, **given_) == ["sha-3610115", *expected]  # type: ignore[arg-type]


@pytest.mark.parametrize("given_", [{"branch": "main"}, {"tag": "v1.2.3"}, {}])
def test_what_is_not_committed_is_no_release(given_: dict[str, str]) -> None:
    assert tags(SHA, dirty=True, **given_) == ["sha-3610115-dirty"]  # type: ignore[arg-type]


@given(st.text(min_size=1))
def test_any_branch_gives_a_tag_that_registries_take(branch: str) -> None:
    assert OF_A_REGISTRY.fullmatch(branch_tag(branch))


@pytest.mark.parametrize("tag", ["1.2.3", "1.2.3-rc.1", "0.0.1"])
def test_released_versions_stay(tag: str) -> None:
    assert stays(tag)


@pytest.mark.parametrize("tag", ["latest", "1.2", "1", "branch-1.2.3", "sha-3610115", "v1.2.3"])
def test_other_tags_move(tag: str) -> None:
    assert not stays(tag)


@given(st.tuples(*[st.integers(0, 99)] * 3))
def test_a_version_is_named_as_it_is_read(number: tuple[int, int, int]) -> None:
    found = version("v%d.%d.%d" % number)
    assert found is not None
    assert version(found.name) == found
