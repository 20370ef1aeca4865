# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tamma's source at a commit, copied for a build: a checkout is only read, and nothing but what is built is copied.

A checkout may be anybody's, and Git runs what a repository's configuration names: filters, hooks, a monitor of files, a
program for signatures. So of that configuration only names of commits and a few plain values are taken; everything
else is done in a repository of ours, which has the objects of the other one and none of its configuration.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from typing import Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import image_tags
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

#: What images are built from; of other parts of the workspace only what its lock file wants to see.
_TREES = ("packages/", "apps/tamma-elsa/src/")
_FILES = re.compile(r"package\.json|pnpm-lock\.yaml|pnpm-workspace\.yaml|tsconfig[^/]*\.json|\.npmrc")
_MANIFEST = re.compile(r"(?:.*/)?(?:package\.json|\.npmrc)")
_NEEDED = ("package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml")
#: How somebody else's server is reached.
_PASSED = ("SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")
#: What of a configuration says how files stand in a checkout; none of it names a program.
_PLAIN = ("autocrlf", "eol", "excludesfile", "filemode", "ignorecase", "symlinks")
_POINTER = b"version https://git-lfs.github.com/spec/"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://.+|[^/:]+@[^/:]+:.+")


class Source(NamedTuple):
    """A commit that is to be built."""

    #: A directory with a repository of Git.
    repository: str
    revision: str
    #: In seconds since 1970.
    committed: int
    branch: str
    tag: str
    #: All tags of the repository.
    tags: List[str]
    dirty: bool
    #: The repository of ours, and the objects that it has.
    ours: str = ""
    objects: str = ""


def is_address(place: str) -> bool:
    """Whether a source is the address of a repository rather than a directory."""
    return _ADDRESS.fullmatch(place) is not None and not os.path.isdir(place)


def clone(runner: Runner, address: str, ref: str, target: str) -> None:
    """Bring a repository's commits; raises OperatorError when nobody gives it to us or it lacks the ref."""
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    quiet = runner.with_env({**passed, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"})
    done = quiet.run(["git", "clone", "--quiet", "--no-checkout", "--", address, target])
    if done.rc:
        raise OperatorError(
            "The source %s cannot be fetched: %s. Nothing was changed."
            % (_without_login(address), _last(done, address))
        )
    if ref:
        # A branch of theirs is none here yet.
        found = _git(runner, target, "rev-parse", "--verify", "--quiet", "origin/%s" % ref)
        if found.rc == 0:
            _git(runner, target, "branch", "--force", ref, "origin/%s" % ref)


def find(runner: Runner, directory: str, ref: str, scratch: str) -> Source:
    """What a repository has under a ref, or checked out; raises OperatorError unless it is a source of Tamma.

    scratch: a directory of ours, which stays until the source was copied.
    """
    if not os.path.isdir(directory):
        raise OperatorError("The source %s is no directory on this host. Nothing was changed." % directory)
    top = _theirs(runner, directory, "rev-parse", "--show-toplevel")
    if top.rc or os.path.realpath(_line(top)) != os.path.realpath(directory):
        raise OperatorError(
            "The source %s is no checkout of Git: tags and labels come from its commit. Nothing was changed."
            % directory
        )
    ours = _Ours(runner, directory, *_repository(runner, directory, scratch))
    known = ours.run("rev-parse", "--verify", "--quiet", "--end-of-options", "%s^{commit}" % (ref or "HEAD"))
    if known.rc:
        raise OperatorError("The source %s has no %s. Nothing was changed." % (directory, ref or "commit"))
    revision = known.out.strip()
    listed = _entries(ours, revision)
    missing = [name for name in _NEEDED if name not in listed]
    if missing:
        raise OperatorError(
            "The source %s is no checkout of Tamma: it has no %s. Nothing was changed."
            % (directory, ", ".join(missing))
        )
    inner = [name for name, mode in listed.items() if mode == "160000" and built_from(name + "/")]
    if inner:
        raise OperatorError(
            "The source %s has a submodule (%s), and what that has would not be built: make it a directory. "
            "Nothing was changed." % (directory, inner[0])
        )
    tags = ours.read("tag", "--list").split()
    branch = _branch(ours, ref)
    tag = ref if ref in tags else ""
    if not ref and not branch:
        # As a workflow checks a release out.
        tag = _release(ours.read("tag", "--points-at", revision).split())
    return Source(
        repository=directory,
        revision=revision,
        committed=int(ours.read("show", "--no-patch", "--format=%ct", revision)),
        branch=branch,
        # A commit that was asked for in another way is no release.
        tag=tag,
        tags=tags,
        dirty=not ref and _is_changed(ours),
        ours=ours.repository,
        objects=ours.objects,
    )


def copy(runner: Runner, source: Source, target: str) -> None:
    """Copy what is built; every file has the date of the commit, which makes two builds alike."""
    ours = _Ours(runner, source.repository, source.ours, source.objects)
    if source.dirty:
        listed = ours.read("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        _copy_files(source.repository, sorted({name for name in listed if name and built_from(name)}), target)
    else:
        names = [name for name in _entries(ours, source.revision) if built_from(name)]
        index = os.path.join(source.ours, "copied")
        alone = ours._replace(runner=runner.with_env({"GIT_INDEX_FILE": index}), directory=target)
        alone.read("read-tree", source.revision)
        alone.read("checkout-index", "-z", "--stdin", stdin="".join("%s\0" % name for name in names))
        os.unlink(index)
        _refuse_pointers(source, target, names)
    moment = (source.committed, source.committed)
    for directory, inner, files in os.walk(target):
        for name in [*inner, *files]:
            os.utime(os.path.join(directory, name), moment, follow_symlinks=False)


def built_from(name: str) -> bool:
    """Whether an image is made of a file of the source."""
    return name.startswith(_TREES) or bool(_FILES.fullmatch(name) or _MANIFEST.fullmatch(name))


class _Ours(NamedTuple):
    """Git in our repository, with the files of a directory."""

    runner: Runner
    directory: str
    repository: str
    objects: str

    def run(self, *words: str, stdin: Optional[str] = None) -> Result:
        """Run Git; nobody else's configuration counts."""
        env = {
            "GIT_DIR": self.repository,
            "GIT_WORK_TREE": self.directory,
            "GIT_OBJECT_DIRECTORY": self.objects,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        return _git(self.runner.with_env(env), self.directory, *words, stdin=stdin)

    def read(self, *words: str, stdin: Optional[str] = None) -> str:
        """Run Git, which has to succeed."""
        return _done(self.run(*words, stdin=stdin)).out


def _repository(runner: Runner, directory: str, scratch: str) -> Tuple[str, str]:
    """Make our repository from another one: its names of commits, its index, what it ignores, and its objects."""
    ours = tempfile.mkdtemp(prefix="git-", dir=scratch)
    os.makedirs(os.path.join(ours, "refs"))
    os.makedirs(os.path.join(ours, "info"))
    names = _done(_theirs(runner, directory, "for-each-ref", "--format=%(objectname) %(refname)")).out
    _write(ours, "packed-refs", names)
    head = _line(_theirs(runner, directory, "symbolic-ref", "--quiet", "HEAD"))
    commit = _line(_theirs(runner, directory, "rev-parse", "--verify", "--quiet", "HEAD"))
    _write(ours, "HEAD", "%s\n" % ("ref: " + head if head else commit or "ref: refs/heads/none"))
    lines = ["[core]", "\trepositoryformatversion = %d" % (len(commit) > 40), "\tbare = false"]
    for name in _PLAIN:
        found = _theirs(runner, directory, "config", "--get", "core.%s" % name)
        if found.rc == 0 and _line(found):
            lines.append('\t%s = "%s"' % (name, _line(found).replace("\\", "\\\\").replace('"', '\\"')))
    if len(commit) > 40:
        lines += ["[extensions]", "\tobjectformat = sha256"]
    _write(ours, "config", "\n".join([*lines, ""]))
    paths = {}
    for name in ("objects", "index", "shallow", "info/exclude"):
        place = _line(_done(_theirs(runner, directory, "rev-parse", "--git-path", name)))
        paths[name] = os.path.join(os.path.realpath(directory), place)
        if name != "objects" and os.path.isfile(paths[name]):
            shutil.copyfile(paths[name], os.path.join(ours, name))
    # A part of the index may stand in a file of its own.
    beside = os.path.dirname(paths["index"])
    for name in os.listdir(beside):
        if name.startswith("sharedindex.") and os.path.isfile(os.path.join(beside, name)):
            shutil.copyfile(os.path.join(beside, name), os.path.join(ours, name))
    return ours, paths["objects"]


def _write(directory: str, name: str, content: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8", errors="surrogateescape") as handle:
        handle.write(content)


def _entries(ours: _Ours, revision: str) -> Dict[str, str]:
    """The names of a commit, each with its mode."""
    lines = (line.partition("\t") for line in ours.read("ls-tree", "-r", "-z", revision).split("\0") if line)
    return {name: words.split(" ")[0] for words, _tab, name in lines}


def _is_changed(ours: _Ours) -> bool:
    # In a submodule Git would run with the configuration that stands there.
    words = ["--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=all"]
    return any(built_from(line[3:]) for line in ours.read("status", *words).split("\0") if line)


def _branch(ours: _Ours, ref: str) -> str:
    if not ref:
        return ours.run("symbolic-ref", "--quiet", "--short", "HEAD").out.strip()
    return ref if ours.run("show-ref", "--verify", "--quiet", "refs/heads/%s" % ref).rc == 0 else ""


def _release(tags: List[str]) -> str:
    """The tag of the highest version among those of a commit."""
    known = [(found, tag) for tag in tags for found in [image_tags.version(tag)] if found]
    return max(known, key=lambda item: image_tags.order(item[0]))[1] if known else ""


def _copy_files(directory: str, names: List[str], target: str) -> None:
    """Copy files as they are; a link is copied as one, and nothing is reached through one."""
    root = os.path.realpath(directory)
    for name in names:
        found = os.path.join(root, name)
        if os.path.realpath(os.path.dirname(found)) != os.path.dirname(found):
            continue
        if os.path.islink(found) or os.path.isfile(found):
            os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
            shutil.copy2(found, os.path.join(target, name), follow_symlinks=False)


def _refuse_pointers(source: Source, target: str, names: List[str]) -> None:
    for name in names:
        path = os.path.join(target, name)
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as handle:
                if handle.read(len(_POINTER)) == _POINTER:
                    raise OperatorError(
                        "The source %s has %s in Git LFS, from which nothing is fetched: commit the file itself. "
                        "Nothing was changed." % (source.repository, name)
                    )


def _done(result: Result) -> Result:
    if result.rc:
        raise OperatorError("Git fails in the source: %s. Nothing was changed." % _last(result))
    return result


def _line(result: Result) -> str:
    return result.out.rstrip("\n")


def _theirs(runner: Runner, directory: str, *words: str) -> Result:
    """Ask somebody's repository for names and values; nothing that would look at a file or an object may be asked."""
    return _git(runner, directory, *words)


def _git(runner: Runner, directory: str, *words: str, stdin: Optional[str] = None) -> Result:
    safe = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    env: Dict[str, str] = {"GIT_OPTIONAL_LOCKS": "0"}
    return runner.with_env(env).run(["git", *safe, "-C", directory, *words], stdin=stdin)


def _last(result: Result, address: str = "") -> str:
    lines = [line for line in result.err.strip().splitlines() if line] or ["no reason given"]
    text = lines[-1].replace(address, _without_login(address)) if address else lines[-1]
    return text.rstrip(".")


def _without_login(address: str) -> str:
    return re.sub(r"://[^/@]*@", "://", address)
