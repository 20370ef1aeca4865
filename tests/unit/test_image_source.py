# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source at a commit: found, refused, copied, and never written to."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import image_source
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

RUNNER = Runner()
FILES = {
    "package.json": "{}",
    "pnpm-lock.yaml": "",
    "pnpm-workspace.yaml": "",
    "README.md": "not built",
    "apps/site/package.json": "{}",
    "apps/site/picture.svg": "not built",
    "apps/tamma-elsa/src/Tamma.Api/Program.cs": "",
    "packages/cli/src/index.ts": "one",
}
BUILT = sorted(set(FILES) - {"README.md", "apps/site/picture.svg"})


def git(directory: Path, *words: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", directory, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write(directory: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content, encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two commits on main, the first of them tagged, and a branch."""
    directory = tmp_path / "checkout"
    directory.mkdir()
    git(directory, "init", "--quiet", "--initial-branch", "main")
    write(directory, FILES)
    for words in (["add", "."], ["commit", "--quiet", "--message", "one"], ["tag", "v1.0.0"], ["branch", "feat/x"]):
        git(directory, *words)
    write(directory, {"packages/cli/src/index.ts": "two"})
    git(directory, "commit", "--quiet", "--all", "--message", "two")
    return directory


def state(directory: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() + str(path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file()
    }


def copied(source: image_source.Source, target: Path) -> list[str]:
    target.mkdir()
    image_source.copy(RUNNER, source, str(target))
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


def test_what_is_checked_out(checkout: Path, tmp_path: Path) -> None:
    before = state(checkout)
    source = image_source.find(RUNNER, str(checkout), "")
    assert (source.branch, source.tag, source.dirty) == ("main", "", False)
    assert source.revision == git(checkout, "rev-parse", "HEAD")
    assert copied(source, tmp_path / "copy") == BUILT
    assert state(checkout) == before


@pytest.mark.parametrize(
    ("ref", "branch", "tag"), [("v1.0.0", "", "v1.0.0"), ("feat/x", "feat/x", ""), ("HEAD~1", "", "")]
)
def test_a_ref_is_built_whatever_is_checked_out(
    checkout: Path, tmp_path: Path, ref: str, branch: str, tag: str
) -> None:
    write(checkout, {"packages/cli/src/index.ts": "changed"})
    source = image_source.find(RUNNER, str(checkout), ref)
    assert (source.branch, source.tag, source.dirty) == (branch, tag, False)
    copied(source, tmp_path / "copy")
    assert (tmp_path / "copy/packages/cli/src/index.ts").read_text(encoding="utf-8") == "one"


def test_what_is_not_committed_is_built_and_said(checkout: Path, tmp_path: Path) -> None:
    write(checkout, {"packages/cli/src/new.ts": "new", ".gitignore": "*.log\n", "packages/x.log": "ignored"})
    (checkout / "packages/cli/src/index.ts").unlink()
    source = image_source.find(RUNNER, str(checkout), "")
    assert source.dirty
    found = copied(source, tmp_path / "copy")
    assert "packages/cli/src/new.ts" in found
    assert not {"packages/x.log", "packages/cli/src/index.ts"} & set(found)


def test_a_change_of_what_is_not_built_does_not_count(checkout: Path) -> None:
    write(checkout, {"README.md": "changed", "notes.txt": "new"})
    assert not image_source.find(RUNNER, str(checkout), "").dirty


def test_every_file_has_the_date_of_its_commit(checkout: Path, tmp_path: Path) -> None:
    source = image_source.find(RUNNER, str(checkout), "v1.0.0")
    copied(source, tmp_path / "copy")
    assert {path.stat().st_mtime for path in (tmp_path / "copy").rglob("*")} == {source.committed}


def test_an_address(checkout: Path, tmp_path: Path) -> None:
    address = checkout.as_uri()
    assert image_source.is_address(address)
    assert not image_source.is_address(str(checkout))
    image_source.clone(RUNNER, address, "feat/x", str(tmp_path / "clone"))
    source = image_source.find(RUNNER, str(tmp_path / "clone"), "feat/x")
    assert (source.branch, source.tags) == ("feat/x", ["v1.0.0"])
    assert copied(source, tmp_path / "copy") == BUILT
    assert image_source.find(RUNNER, str(tmp_path / "clone"), "v1.0.0").tag == "v1.0.0"


def test_what_cannot_be_fetched_says_so_without_its_login(tmp_path: Path) -> None:
    address = "https://somebody:secret@127.0.0.1:1/nothing.git"
    with pytest.raises(OperatorError) as caught:
        image_source.clone(RUNNER, address, "", str(tmp_path / "clone"))
    assert caught.value.message.startswith("The source https://127.0.0.1:1/nothing.git cannot be fetched: ")
    assert "secret" not in caught.value.message


def test_refusals(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    cases = [
        (str(tmp_path / "none"), "", "is no directory on this host"),
        (str(other), "", "is no checkout of Git"),
        (str(checkout / "packages"), "", "is no checkout of Git"),
        (str(checkout), "v9.9.9", "has no v9.9.9"),
        (str(checkout), "--all", "has no --all"),
    ]
    for directory, ref, words in cases:
        with pytest.raises(OperatorError, match=words):
            image_source.find(RUNNER, directory, ref)
    git(other, "init", "--quiet")
    with pytest.raises(OperatorError, match="has no commit"):
        image_source.find(RUNNER, str(other), "")
    git(other, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    with pytest.raises(OperatorError, match=r"is no checkout of Tamma: it has no package\.json, pnpm-lock\.yaml"):
        image_source.find(RUNNER, str(other), "")
