# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with their digests: made, kept, written and read back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, parse_project
from ansible_collections.meywd.tamma.plugins.module_utils.images import overlay, parse, pin, pins_of, tagged

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NAME = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)


def project(**images: str) -> Project:
    found: dict[str, Any] = {"name": "tamma", "services": {name: {"image": image} for name, image in images.items()}}
    return parse_project(found, dict.fromkeys(images, "0"))


@given(st.dictionaries(NAME, st.tuples(NAME, st.sampled_from([A, B])).map("@".join)))
def test_an_overlay_is_read_back(pinned: dict[str, str]) -> None:
    assert parse(overlay(pinned).content) == pinned


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"services": []}', '{"services": {"a": {}}}', "services: {}"])
def test_what_is_no_overlay_pins_nothing(text: str | None) -> None:
    assert parse(text) == {}


@pytest.mark.parametrize(
    ("reference", "called"),
    [
        ("ghcr.io/meywd/api:1@" + A, "ghcr.io/meywd/api:1"),
        ("registry:5000/api:1@" + A, "registry:5000/api:1"),
        ("registry:5000/api@" + A, "registry:5000/api@" + A),
        ("api:1", "api:1"),
        ("api", "api"),
    ],
)
def test_people_call_an_image_by_its_tag(reference: str, called: str) -> None:
    assert tagged(reference) == called


@pytest.mark.parametrize(
    ("reference", "digests", "pinned"),
    [
        ("registry:5000/api:1", ["registry:5000/api@" + A], "registry:5000/api:1@" + A),
        ("registry:5000/api", ["registry:5000/api@" + A], "registry:5000/api:latest@" + A),
        # Docker leaves out its own registry, Podman does not.
        ("postgres:15", ["postgres@" + A], "postgres:15@" + A),
        ("postgres:15", ["docker.io/library/postgres@" + A], "postgres:15@" + A),
        ("docker.io/library/postgres:15", ["postgres@" + A], "docker.io/library/postgres:15@" + A),
        ("docker.io/postgres:15", ["postgres@" + A], "docker.io/postgres:15@" + A),
        ("meywd/api:1", ["docker.io/meywd/api@" + A], "meywd/api:1@" + A),
        # The digest in another registry is another one.
        ("registry:5000/api:1", ["ghcr.io/meywd/api@" + A], None),
        ("api:1", [], None),
        ("api:1@" + B, ["api@" + A], "api:1@" + B),
    ],
)
def test_a_reference_gets_the_digest_from_its_own_repository(
    reference: str, digests: list[str], pinned: str | None
) -> None:
    assert pin(reference, {"RepoDigests": digests}) == pinned


def test_an_image_that_is_not_here_has_no_digest() -> None:
    assert pin("api:1", None) is None
    assert pin("api:1", {"RepoDigests": None}) is None


def test_of_several_digests_the_known_one_is_kept() -> None:
    image = {"RepoDigests": ["api@" + A, "api@" + B]}
    assert pin("api:1", image) == "api:1@" + A
    assert pin("api:1", image, ["api:1@" + B]) == "api:1@" + B
    assert pin("api:1", image, ["other:1@" + B]) == "api:1@" + A


def test_a_pin_belongs_to_the_image_that_is_asked_for() -> None:
    known = {"api": "api:1@" + A, "web": "web:1@" + A, "gone": "gone:1@" + A, "latest": "latest:latest@" + A}
    assert pins_of(project(api="api:1", web="web:2", new="new:1", latest="latest"), known) == {
        "api": "api:1@" + A,
        "latest": "latest:latest@" + A,
    }


def test_an_image_that_somebody_pinned_is_left_alone() -> None:
    assert pins_of(project(api="api:1@" + B), {"api": "api:1@" + A}) == {}
