# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tamma's source at a commit, copied for a build: a checkout is only read, and nothing but what is built is copied."""

from __future__ import annotations

import os
import re
import shutil
from typing import Dict, List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

#: What images are built from; of other parts of the workspace only what its lock file wants to see.
_TREES = ("packages/", "apps/tamma-elsa/src/")
_FILES = re.compile(r"package\.json|pnpm-lock\.yaml|pnpm-workspace\.yaml|tsconfig[^/]*\.json|\.npmrc")
_MANIFEST = re.compile(r"(?:.*/)?(?:package\.json|\.npmrc)")
_NEEDED = ("package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml")
#: How somebody else's server is reached.
_PASSED = ("SSH_AUTH_SOCK", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")
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


def find(runner: Runner, directory: str, ref: str) -> Source:
    """What a repository has under a ref, or checked out; raises OperatorError unless it is a source of Tamma."""
    if not os.path.isdir(directory):
        raise OperatorError("The source %s is no directory on this host. Nothing was changed." % directory)
    top = _git(runner, directory, "rev-parse", "--show-toplevel")
    if top.rc or os.path.realpath(top.out.strip()) != os.path.realpath(directory):
        raise OperatorError(
            "The source %s is no checkout of Git: tags and labels come from its commit. Nothing was changed."
            % directory
        )
    known = _git(
        runner, directory, "rev-parse", "--verify", "--quiet", "--end-of-options", "%s^{commit}" % (ref or "HEAD")
    )
    if known.rc:
        raise OperatorError("The source %s has no %s. Nothing was changed." % (directory, ref or "commit"))
    revision = known.out.strip()
    tags = _read(runner, directory, "tag", "--list").split()
    source = Source(
        repository=directory,
        revision=revision,
        committed=int(_read(runner, directory, "show", "--no-patch", "--format=%ct", revision)),
        branch=_branch(runner, directory, ref),
        # A commit that was asked for in another way is no release.
        tag=ref if ref in tags else "",
        tags=tags,
        dirty=not ref and bool(_changed(runner, directory)),
    )
    listed = set(_listed(runner, source))
    missing = [name for name in _NEEDED if name not in listed]
    if missing:
        raise OperatorError(
            "The source %s is no checkout of Tamma: it has no %s. Nothing was changed."
            % (directory, ", ".join(missing))
        )
    return source


def copy(runner: Runner, source: Source, target: str) -> None:
    """Copy what is built; every file has the date of the commit, which makes two builds alike."""
    names = [name for name in _listed(runner, source) if built_from(name)]
    if source.dirty:
        for name in names:
            found = os.path.join(source.repository, name)
            if os.path.lexists(found):
                os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
                shutil.copy2(found, os.path.join(target, name), follow_symlinks=False)
    else:
        index = os.path.join(target, ".index")
        alone = runner.with_env({"GIT_INDEX_FILE": index})
        _done(_git(alone, source.repository, "read-tree", source.revision))
        prefix = "--prefix=%s/" % target
        asked = "".join("%s\0" % name for name in names)
        _done(_git(alone, source.repository, "checkout-index", "-z", "--stdin", prefix, stdin=asked))
        os.unlink(index)
    moment = (source.committed, source.committed)
    for directory, inner, files in os.walk(target):
        for name in [*inner, *files]:
            os.utime(os.path.join(directory, name), moment, follow_symlinks=False)


def built_from(name: str) -> bool:
    """Whether an image is made of a file of the source."""
    return name.startswith(_TREES) or bool(_FILES.fullmatch(name) or _MANIFEST.fullmatch(name))


def _listed(runner: Runner, source: Source) -> List[str]:
    """The files of the commit, or of a checkout with changes."""
    if source.dirty:
        words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    else:
        words = ["ls-tree", "-r", "-z", "--name-only", source.revision]
    return [name for name in _read(runner, source.repository, *words).split("\0") if name]


def _changed(runner: Runner, directory: str) -> List[str]:
    lines = _read(runner, directory, "status", "--porcelain", "-z").split("\0")
    return [line[3:] for line in lines if line and built_from(line[3:])]


def _branch(runner: Runner, directory: str, ref: str) -> str:
    if not ref:
        return _git(runner, directory, "symbolic-ref", "--quiet", "--short", "HEAD").out.strip()
    return ref if _git(runner, directory, "show-ref", "--verify", "--quiet", "refs/heads/%s" % ref).rc == 0 else ""


def _read(runner: Runner, directory: str, *words: str) -> str:
    return _done(_git(runner, directory, *words)).out


def _done(result: Result) -> Result:
    if result.rc:
        raise OperatorError("Git fails in the source: %s. Nothing was changed." % _last(result))
    return result


def _git(runner: Runner, directory: str, *words: str, stdin: Optional[str] = None) -> Result:
    # Somebody else's checkout is read as well as one's own; nothing of it is run.
    safe = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    env: Dict[str, str] = {"GIT_OPTIONAL_LOCKS": "0"}
    return runner.with_env(env).run(["git", *safe, "-C", directory, *words], stdin=stdin)


def _last(result: Result, address: str = "") -> str:
    lines = [line for line in result.err.strip().splitlines() if line] or ["no reason given"]
    text = lines[-1].replace(address, _without_login(address)) if address else lines[-1]
    return text.rstrip(".")


def _without_login(address: str) -> str:
    return re.sub(r"://[^/@]*@", "://", address)
