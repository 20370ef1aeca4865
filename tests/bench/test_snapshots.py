"""What a snapshot of a provisioned host is called by."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import releases, snapshots
from tests.bench.names import REPOSITORY


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with what a snapshot is made of, which may be changed."""
    for tree in snapshots.SOURCES:
        shutil.copytree(REPOSITORY / tree, tmp_path / tree)
    playbook = tmp_path / snapshots.PLAYBOOK.relative_to(REPOSITORY)
    playbook.parent.mkdir(parents=True)
    shutil.copy(snapshots.PLAYBOOK, playbook)
    monkeypatch.setattr(snapshots, "REPOSITORY", tmp_path)
    monkeypatch.setattr(snapshots, "PLAYBOOK", playbook)
    yield tmp_path
    snapshots._key.cache_clear()


def keys() -> list[str]:
    snapshots._key.cache_clear()
    return [snapshots._key(engine) for engine in snapshots.ENGINES]


@pytest.mark.usefixtures("copy")
def test_each_engine_has_its_own() -> None:
    assert len(set(keys())) == len(snapshots.ENGINES)


@pytest.mark.parametrize("changed", ["roles/tamma_runtime/tasks/main.yml", "tests/bench/provisioned.yml"])
def test_the_name_changes_with_what_it_is_made_of(copy: Path, changed: str) -> None:
    before = keys()
    assert keys() == before
    (copy / changed).write_text("other\n", encoding="utf-8")
    assert not set(keys()) & set(before)


@pytest.mark.usefixtures("copy")
def test_the_name_changes_with_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    served = {name: f"{image}-other" for name, image in releases.served().items()}
    monkeypatch.setattr(releases, "served", lambda: served)
    assert not set(keys()) & set(before)
