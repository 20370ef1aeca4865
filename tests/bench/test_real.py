"""What `make real` takes for a source, and which of its runs is documented."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.command import BenchError
from tests.real import results, source
from tests.real.results import PROFILES, Results
from tests.real.source import Built


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that has what the services are built from, as far as anybody looks."""
    found = tmp_path / "source"
    for part in source.PARTS:
        path = found / part if "." in part else found / part / "file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content", encoding="utf-8")
    (found / ".gitignore").write_text("node_modules\n", encoding="utf-8")
    monkeypatch.setenv(source.VARIABLE, str(found))
    monkeypatch.setattr(source, "CACHE", tmp_path / "cache")
    _git(found, "init", "--quiet")
    _git(found, "add", ".")
    _git(found, "commit", "--quiet", "--message", "one")
    return found


def _git(tree: Path, *words: str) -> None:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    subprocess.run(["git", "-C", tree, *who, *words], check=True)


def _made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let nothing be built, and return into which directories it would have been."""
    made: list[Path] = []

    def build(_: Path, directory: Path) -> None:
        made.append(directory)
        directory.mkdir(parents=True)
        (directory / "node").touch()

    monkeypatch.setattr(source, "_build", build)
    return made


def test_a_tree_is_built_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _made(monkeypatch)
    first = source.build()
    (tree / "packages" / "node_modules").mkdir()
    (tree / "packages" / "node_modules" / "left").touch()
    assert source.build() == first
    (tree / "packages" / "file").write_text("changed", encoding="utf-8")
    changed = source.build()
    assert made == [first.directory, changed.directory]
    assert changed.name == f"{first.name}-changed"


@pytest.mark.parametrize(
    ("named", "words"),
    [("", "TAMMA_SOURCE is not set: name a checkout"), ("/", "is no checkout of Tamma's source: it lacks")],
)
def test_what_is_no_source(monkeypatch: pytest.MonkeyPatch, named: str, words: str) -> None:
    monkeypatch.setenv(source.VARIABLE, named)
    with pytest.raises(BenchError, match=words):
        source.build()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(results, "PAGE", tmp_path / "page.md")
    return tmp_path / "page.md"


def _results(profiles: tuple[str, ...]) -> Results:
    found = Results(Built("c0ffee" * 6 + "beef", Path("/nowhere"), Path("/source")))
    for profile in profiles:
        found.add(profile, "tamma-engine", healthy_after="1.5 s")
        found.add(profile, "tamma-engine", issue_processed="yes")
    return found


def test_the_page_says_what_was_seen_of_which_source(page: Path) -> None:
    _results(PROFILES).write(complete=True)
    text = page.read_text(encoding="utf-8")
    assert "c0ffee" * 6 + "beef" in text
    for profile in PROFILES:
        assert f"| {profile} | tamma-engine | 1.5 s |  |  |  |  | yes |" in text


@pytest.mark.parametrize(("profiles", "complete"), [(PROFILES, False), (PROFILES[:2], True)])
def test_a_run_that_failed_or_saw_a_part_is_not_documented(
    page: Path, profiles: tuple[str, ...], complete: bool
) -> None:
    _results(profiles).write(complete=complete)
    assert not page.exists()
    assert "tamma-engine" in (page.parent / "cache" / "result.md").read_text(encoding="utf-8")
