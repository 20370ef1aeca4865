# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image gets PostgreSQL's login in a container that is thrown away."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import registry_client, signatures, throwaway
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Access

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE = "postgres:16-alpine"


class Registry:
    """It has one image behind every tag, and no signature."""

    def __init__(self, *_: object) -> None:
        pass

    def manifest(self, _repository: str, reference: str) -> Any:
        return SimpleNamespace(digest=DIGEST, parsed={}) if not reference.startswith("sha256-") else None


def stack(directory: Path, local: dict[str, Any] | None = None) -> Any:
    engine = SimpleNamespace(image=lambda _name: local, access=Access)
    return SimpleNamespace(directory=str(directory), name="tamma", engine=engine, runner=None)


def trust(directory: Path, **rule: Any) -> None:
    (directory / signatures.FILE).write_text(json.dumps([rule]), encoding="utf-8")


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_client, "Client", Registry)


def test_an_image_that_no_rule_is_about_is_taken_as_it_is(tmp_path: Path) -> None:
    assert throwaway.believed(stack(tmp_path), IMAGE) == IMAGE
    trust(tmp_path, images="ghcr.io/meywd/*", digests=[OTHER])
    assert throwaway.believed(stack(tmp_path), IMAGE) == IMAGE


def test_what_is_verified_is_what_is_pulled(tmp_path: Path) -> None:
    trust(tmp_path, images="postgres", digests=[DIGEST])
    assert throwaway.believed(stack(tmp_path), IMAGE) == f"{IMAGE}@{DIGEST}"
    carried = {"RepoDigests": [f"127.0.0.1:5000/docker.io/library/postgres@{DIGEST}"]}
    assert throwaway.believed(stack(tmp_path, carried), IMAGE) == IMAGE


@pytest.mark.parametrize("local", [None, {"RepoDigests": [f"postgres@{DIGEST}"]}])
def test_one_that_is_not_believed_gets_no_login(tmp_path: Path, local: dict[str, Any] | None) -> None:
    trust(tmp_path, images="postgres", digests=[OTHER])
    with pytest.raises(OperatorError, match=r"another digest .+POSTGRES_IMAGE\. Nothing was pulled\.$"):
        throwaway.believed(stack(tmp_path, local), IMAGE)


def test_no_container_is_made_of_one_that_is_not_believed(tmp_path: Path) -> None:
    trust(tmp_path, images="postgres", digests=[OTHER])
    made = throwaway._container(stack(tmp_path), IMAGE, [], [], "none", {})
    with pytest.raises(OperatorError, match="Nothing was pulled"), made:
        raise AssertionError("it was made")
