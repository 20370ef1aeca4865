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


def found(directory: str, ref: str = "") -> image_source.Source:
    scratch = Path(directory).parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return image_source.find(RUNNER, directory, ref, str(scratch))


def copied(source: image_source.Source, target: Path) -> list[str]:
    target.mkdir()
    image_source.copy(RUNNER, source, str(target))
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())


def test_what_is_checked_out(checkout: Path, tmp_path: Path) -> None:
    before = state(checkout)
    source = found(str(checkout), "")
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
    source = found(str(checkout), ref)
    assert (source.branch, source.tag, source.dirty) == (branch, tag, False)
    copied(source, tmp_path / "copy")
    assert (tmp_path / "copy/packages/cli/src/index.ts").read_text(encoding="utf-8") == "one"


def test_what_is_not_committed_is_built_and_said(checkout: Path, tmp_path: Path) -> None:
    write(checkout, {"packages/cli/src/new.ts": "new", ".gitignore": "*.log\n", "packages/x.log": "ignored"})
    (checkout / "packages/cli/src/index.ts").unlink()
    source = found(str(checkout), "")
    assert source.dirty
    names = copied(source, tmp_path / "copy")
    assert "packages/cli/src/new.ts" in names
    assert not {"packages/x.log", "packages/cli/src/index.ts"} & set(names)


def test_a_change_of_what_is_not_built_does_not_count(checkout: Path) -> None:
    write(checkout, {"README.md": "changed", "notes.txt": "new"})
    assert not found(str(checkout), "").dirty


def test_every_file_has_the_date_of_its_commit(checkout: Path, tmp_path: Path) -> None:
    source = found(str(checkout), "v1.0.0")
    copied(source, tmp_path / "copy")
    assert {path.stat().st_mtime for path in (tmp_path / "copy").rglob("*")} == {source.committed}


def test_an_address(checkout: Path, tmp_path: Path) -> None:
    address = checkout.as_uri()
    assert image_source.is_address(address)
    assert not image_source.is_address(str(checkout))
    image_source.clone(RUNNER, address, "feat/x", str(tmp_path / "clone"))
    source = found(str(tmp_path / "clone"), "feat/x")
    assert (source.branch, source.tags) == ("feat/x", ["v1.0.0"])
    assert copied(source, tmp_path / "copy") == BUILT
    assert found(str(tmp_path / "clone"), "v1.0.0").tag == "v1.0.0"


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
            found(directory, ref)
    git(other, "init", "--quiet")
    with pytest.raises(OperatorError, match="has no commit"):
        found(str(other), "")
    git(other, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    with pytest.raises(OperatorError, match=r"is no checkout of Tamma: it has no package\.json, pnpm-lock\.yaml"):
        found(str(other), "")


EVIL = """[core]
    fsmonitor = {program}
    hooksPath = {hooks}
    sshCommand = {program}
    alternateRefsCommand = {program}
[filter "x"]
    clean = {program}; cat
    smudge = {program}; cat
    process = {program}
    required = true
[diff "x"]
    command = {program}
    textconv = {program}
[diff]
    external = {program}
[log]
    showSignature = true
[gpg]
    program = {program}
[uploadpack]
    packObjectsHook = {program}
[extensions]
    partialClone = away
[remote "away"]
    promisor = true
    url = ssh://127.0.0.1/nothing
"""


@pytest.mark.parametrize("change", ["", "packages/cli/src/index.ts"])
@pytest.mark.parametrize("ref", ["", "v1.0.0"])
def test_nothing_that_a_checkout_names_is_run(checkout: Path, tmp_path: Path, change: str, ref: str) -> None:
    write(checkout, {".gitattributes": "* filter=x diff=x\n", "packages/cli/.gitattributes": "* filter=x ident\n"})
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "three")
    # A commit with a signature, for which Git would start a program.
    text = git(checkout, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n\n", 1
    )
    (tmp_path / "commit").write_text(text + "\n")
    git(checkout, "reset", "--soft", git(checkout, "hash-object", "-t", "commit", "-w", str(tmp_path / "commit")))
    ran, hooks = tmp_path / "ran", tmp_path / "hooks"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho x >> {ran}\n")
    program.chmod(0o755)
    hooks.mkdir()
    for name in ("post-index-change", "post-checkout", "reference-transaction"):
        (hooks / name).symlink_to(program)
    write(checkout, {change: "changed"} if change else {})
    (checkout / ".git/config").write_text("[core]\n    repositoryformatversion = 0\n")
    # So that Git has to look into every file.
    for path in checkout.rglob("packages/**/*.ts"):
        path.touch()
    with (checkout / ".git/config").open("a") as config:
        config.write(EVIL.format(program=program, hooks=hooks))
    subprocess.run(["git", "-C", checkout, "status", "--short"], check=False, capture_output=True)
    assert ran.exists(), "the trap does not work"
    ran.unlink()
    source = found(str(checkout), ref)
    copied(source, tmp_path / "copy")
    assert not ran.exists()
    assert source.dirty == bool(change and not ref)


@pytest.mark.parametrize(
    ("tags", "tag"),
    [
        ([], ""),
        (["nightly"], ""),
        (["v1.2.3"], "v1.2.3"),
        (["v1.9.0", "v1.10.0-rc.10", "v1.10.0-rc.9"], "v1.10.0-rc.10"),
        (["v1.10.0-rc.1", "v1.10.0", "nightly"], "v1.10.0"),
    ],
)
def test_a_release_that_is_checked_out_as_a_workflow_does(checkout: Path, tags: list[str], tag: str) -> None:
    for name in tags:
        git(checkout, "tag", "--annotate", "--message", "x", name)
    # On a branch it is the branch that is built.
    assert (found(str(checkout)).branch, found(str(checkout)).tag) == ("main", "")
    git(checkout, "checkout", "--quiet", "--detach")
    assert (found(str(checkout)).branch, found(str(checkout)).tag) == ("", tag)


def test_nothing_outside_the_checkout_is_reached_through_a_link(checkout: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside/index.ts": "outside"})
    (checkout / "packages/cli/src/index.ts").unlink()
    (checkout / "packages/cli/src").rmdir()
    (checkout / "packages/cli/src").symlink_to(tmp_path / "outside")
    source = found(str(checkout))
    assert source.dirty
    copied(source, tmp_path / "copy")
    assert (tmp_path / "copy/packages/cli/src").is_symlink()
    assert (tmp_path / "outside/index.ts").stat().st_mtime != source.committed


def test_what_a_commit_has_not_itself_is_refused(checkout: Path, tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    write(checkout, {"packages/cli/picture.png": pointer})
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "three")
    with pytest.raises(OperatorError, match=r"has packages/cli/picture\.png in Git LFS"):
        copied(found(str(checkout)), tmp_path / "copy")
    entry = f"160000,{git(checkout, 'rev-parse', 'HEAD')},packages/inner"
    git(checkout, "update-index", "--add", "--cacheinfo", entry)
    git(checkout, "commit", "--quiet", "--message", "four")
    with pytest.raises(OperatorError, match=r"has a submodule \(packages/inner\)"):
        found(str(checkout))
