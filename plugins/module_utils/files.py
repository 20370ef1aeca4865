# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files as a release wants them: compared, described, and written so that no reader sees half."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from typing import Dict, Iterable, List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

# Which files the last deploy wrote, so that the next one can remove what is no longer wanted.
RECORD = ".tamma/files.json"


class File(NamedTuple):
    """A text file below the project directory.

    path: relative, with ``/``. mode: permission bits. secret: its content is never shown.
    owner: numeric user id, None for the user who writes. initial: written only where there is none;
    the operator changes it afterwards.
    """

    path: str
    content: str
    mode: int = 0o644
    secret: bool = False
    owner: Optional[int] = None
    initial: bool = False


class FileChange(NamedTuple):
    """A file that differs from what is wanted: action is create, update, mode or remove."""

    path: str
    action: str
    diff: str


def fingerprint(files: Iterable[File]) -> str:
    """Hash the paths and contents of *files* into 16 hexadecimal digits, in any order."""
    listed = json.dumps(sorted((item.path, item.content) for item in files))
    return hashlib.sha256(listed.encode("utf-8")).hexdigest()[:16]


def read(path: str) -> Optional[str]:
    """Return a file's text, or None when there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise OperatorError(
            "%s is a directory where a file belongs (an engine makes one when a file that a container mounts is "
            "missing): remove it if it is empty, and look at what it holds if it is not." % path
        ) from None


def compare(directory: str, wanted: Iterable[File], formerly: Iterable[str] = ()) -> List[FileChange]:
    """Say what must change below *directory*; *formerly* are the files that the last run wrote."""
    changes = []
    kept = set()
    for item in wanted:
        kept.add(item.path)
        path = os.path.join(directory, item.path)
        before = read(path)
        if before is None:
            changes.append(FileChange(item.path, "create", _diff(item, "")))
        elif before != item.content and not item.initial:
            changes.append(FileChange(item.path, "update", _diff(item, before)))
        elif not _has_permissions(path, item):
            changes.append(FileChange(item.path, "mode", "mode becomes %04o\n" % item.mode))
    for name in sorted(set(formerly) - kept):
        if os.path.exists(os.path.join(directory, name)):
            changes.append(FileChange(name, "remove", ""))
    return changes


def _has_permissions(path: str, item: File) -> bool:
    found = os.stat(path)
    return found.st_mode & 0o7777 == item.mode and item.owner in (None, found.st_uid)


def _diff(item: File, before: str) -> str:
    if item.secret:
        return "(content hidden: it may hold secrets)\n"
    lines = difflib.unified_diff(
        before.splitlines(True), item.content.splitlines(True), "before: " + item.path, "after: " + item.path
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def write(directory: str, files: Iterable[File]) -> None:
    """Write *files* below *directory*, each one atomically and on disk before this returns.

    Directories that are made on the way belong to their owner alone when the file does.
    """
    for item in files:
        path = os.path.join(directory, item.path)
        _make_directory(os.path.dirname(path), 0o755 if item.mode & 0o004 else 0o700)
        replace(path, item.content, item.mode, item.owner)


def replace(path: str, content: str, mode: int, owner: Optional[int] = None) -> None:
    """Replace one file atomically: readers see the former content or the new one."""
    replace_bytes(path, content.encode("utf-8", "surrogateescape"), mode, owner)


def replace_bytes(path: str, content: bytes, mode: int, owner: Optional[int] = None) -> None:
    """Replace one file, whatever it holds; see :func:`replace`."""
    try:
        _replace(path, content, mode, owner)
    except OSError as exc:
        # Writing tells no name, and that of the scratch file says nothing to anybody.
        exc.filename = path
        raise


def _replace(path: str, content: bytes, mode: int, owner: Optional[int]) -> None:
    handle, scratch = tempfile.mkstemp(prefix=".tamma-", dir=os.path.dirname(path))
    try:
        os.fchmod(handle, mode)
        if owner is not None:
            os.fchown(handle, owner, -1)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise
    _sync_directory(os.path.dirname(path))


def remove(directory: str, names: Iterable[str]) -> None:
    """Remove files below *directory*, and the directories that are empty then.

    Raises OperatorError for a name that leads out of *directory*; nothing is removed then.
    """
    directory = os.path.abspath(directory)
    paths = [os.path.abspath(os.path.join(directory, name)) for name in names]
    for path in paths:
        if not path.startswith(os.path.join(directory, "")):
            raise OperatorError("%s is not below %s and is left alone." % (path, directory))
    for path in paths:
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        parent = os.path.dirname(path)
        while parent != directory and not os.listdir(parent):
            os.rmdir(parent)
            parent = os.path.dirname(parent)


def recorded(directory: str) -> List[str]:
    """The files that the last deploy wrote below *directory*."""
    try:
        return sorted(str(name) for name in json.loads(read(os.path.join(directory, RECORD)) or "[]"))
    except ValueError:
        return []


def record(directory: str, names: Iterable[str]) -> None:
    """Remember which files a deploy writes below *directory*."""
    write(directory, [File(RECORD, json.dumps(sorted(names)) + "\n", 0o600)])


def _make_directory(path: str, mode: int) -> None:
    if os.path.exists(path) and not os.path.isdir(path):
        raise OperatorError("%s is a file where a directory belongs: move it away." % path)
    if not os.path.isdir(path):
        _make_directory(os.path.dirname(path), mode)
        os.mkdir(path)
        os.chmod(path, mode)


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def changed_keys(before: Dict[str, str], after: Dict[str, str]) -> Dict[str, List[str]]:
    """Compare two sets of settings by key: which were added, changed and removed."""
    return {
        "added": sorted(set(after) - set(before)),
        "changed": sorted(key for key in after if key in before and before[key] != after[key]),
        "removed": sorted(set(before) - set(after)),
    }
