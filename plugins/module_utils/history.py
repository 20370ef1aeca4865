# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases of a stack on its host: numbered, immutable, and the last ones ready to be gone back to.

A release is a directory with the files that everybody may read, the settings without secrets, and a record of
its images and of what became of it. Secrets are not part of it: whoever goes back uses the live ones.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils import (
    edge,
    formats,
    images,
    moments,
    secret_files,
    signatures,
)
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, fingerprint, read, recorded, write
from ansible_collections.meywd.tamma.plugins.module_utils.release import (
    CONFIDENTIAL,
    ENV_FILE,
    Release,
    every_secret_name,
    known_settings,
    settings_on_host,
)

DIRECTORY = ".tamma/releases"
_RECORD = "release.json"
# PostgreSQL writes a schema down in other words after a dump and a restore: its fingerprint then → the one before.
_SCHEMAS = ".tamma/schemas.json"
_FILES = "files"

# What became of a release. Of those that serve only the newest one runs.
RUNNING = "running"
SERVES = "serves"
FAILED = "failed"


class Entry(NamedTuple):
    """A release in the history.

    by, origin, reason: who deployed it, from where, and why. version: of Tamma. images: service → what it was made
    of. mode: "first", "rolling" or "guarded". guard: the copy of the database from before it, if it is still there.
    schema: the fingerprint of the database's schema when it began to serve; before: when its deploy began. backup: the
    backup that was taken then. seconds: how long the deploy took. problem: why it failed. options: what a release needs
    beside its files. target: the release that it went back to, 0 for one that went forward. signed: whether the backup
    that was taken then is signed.
    """

    number: int
    time: str
    by: str
    origin: str
    reason: str
    version: str
    outcome: str
    mode: str
    seconds: float
    problem: str
    guard: str
    schema: str
    content: str
    images: Dict[str, Dict[str, str]]
    options: Dict[str, Any]
    before: str = ""
    backup: str = ""
    target: int = 0
    signed: bool = False


class History:
    """The releases of the stack in *directory*."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._root = os.path.join(directory, DIRECTORY)

    def entries(self) -> List[Entry]:
        """Every release that is known, oldest first. One without a record was about to come, or to go."""
        names = os.listdir(self._root) if os.path.isdir(self._root) else []
        numbers = sorted(int(name) for name in names if name.isdigit())
        return [self.entry(number) for number in numbers if os.path.exists(self._record(number))]

    def _record(self, number: int) -> str:
        return os.path.join(self._root, str(number), _RECORD)

    def entry(self, number: int) -> Entry:
        """One release. Raises OperatorError when there is none of this number."""
        path = self._record(number)
        text = read(path)
        if text is None:
            raise OperatorError("This host has no release %d: 'tammactl releases' lists those that it keeps." % number)
        try:
            return Entry(**json.loads(text))
        except (ValueError, TypeError) as exc:
            raise OperatorError("%s cannot be read (%s): remove %s." % (path, exc, os.path.dirname(path))) from exc

    def current(self) -> Optional[Entry]:
        """The release that serves; None before the first."""
        return serving(self.entries())

    def before(self, number: int) -> Optional[Entry]:
        """The newest release that served before *number*; if that went back, before the release that it went back to.

        Who goes back twice is two releases further back, and not at the one that was left first. One with the same
        content is none to go back to: nothing would be another one.
        """
        entries = {item.number: item for item in self.entries()}
        content = entries[number].content if number in entries else ""
        while number in entries and entries[number].target:
            number = entries[number].target
        served = [item for item in entries.values() if item.outcome == SERVES and item.number < number]
        served = [item for item in served if not content or item.content != content]
        return served[-1] if served else None

    def next_number(self) -> int:
        """The number of the release that comes."""
        return max((item.number for item in self.entries()), default=0) + 1

    def note(self, entry: Entry) -> None:
        """Put a release's record on the disk."""
        write(self._root, [File("%d/%s" % (entry.number, _RECORD), _json(entry._asdict()), 0o600)])

    def keep(self, entry: Entry) -> None:
        """Keep the files that are in place now, and the settings without secrets, as those of a release."""
        held = [
            File("%d/%s/%s" % (entry.number, _FILES, item.path), item.content, 0o600)
            for item in open_files(self._directory)
        ]
        # Of a run that was cut off, perhaps with other files.
        shutil.rmtree(os.path.join(self._root, str(entry.number), _FILES), ignore_errors=True)
        write(self._root, held)
        self.note(entry)

    def files(self, number: int) -> List[File]:
        """The files of a release, ``.env`` without its secrets among them."""
        root = os.path.join(self._root, str(number), _FILES)
        return [
            File(os.path.relpath(os.path.join(place, name), root), read(os.path.join(place, name)) or "")
            for place, _below, names in sorted(os.walk(root))
            for name in sorted(names)
        ]

    def same_schema(self, found: str, known: str) -> None:
        """Remember that a schema has the fingerprint *found* since it was restored, and had *known* before."""
        if found and known and found != known:
            write(self._directory, [File(_SCHEMAS, _json({**self._schemas(), found: self.original(known)}), 0o600)])

    def original(self, found: str) -> str:
        """The fingerprint that the schema with the fingerprint *found* had before it was restored; else *found*."""
        return str(self._schemas().get(found, found))

    def _schemas(self) -> Dict[str, Any]:
        try:
            known = json.loads(read(os.path.join(self._directory, _SCHEMAS)) or "{}")
        except ValueError:
            return {}
        return known if isinstance(known, dict) else {}

    def forget(self, number: int) -> None:
        """Remove a release; its record first, so that nobody goes back to half of it."""
        if os.path.exists(self._record(number)):
            os.unlink(self._record(number))
        shutil.rmtree(os.path.join(self._root, str(number)), ignore_errors=True)


def serving(entries: Sequence[Entry]) -> Optional[Entry]:
    """Of all releases, oldest first, the one that serves."""
    return next((item for item in reversed(entries) if item.outcome == SERVES), None)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def open_files(directory: str, paths: Optional[Sequence[str]] = None) -> List[File]:
    """The files that belong to a release: what everybody may read, confidential ones, and the settings without secrets.

    paths: which files the stack has; those that the last deploy wrote into *directory* if not given.
    """
    # A rotation of secrets is no release: going back from it would mean nothing.
    hidden = every_secret_name() | secret_files.HASH_SETTINGS
    found = []
    for path in recorded(directory) if paths is None else paths:
        full = os.path.join(directory, path)
        if path == ENV_FILE:
            values = {key: value for key, value in settings_on_host(directory).items() if key not in hidden}
            found.append(File(path, formats.render_dotenv([("Without secrets", values)])))
        elif path == signatures.FILE:
            continue
        elif os.path.isfile(full) and (path in CONFIDENTIAL or os.stat(full).st_mode & stat.S_IROTH):
            found.append(File(path, read(full) or ""))
    return found


def content(files: Iterable[File], pictures: Mapping[str, Mapping[str, str]]) -> str:
    """What makes a release itself: its files, its settings, and its images."""
    own = [item for item in files if not is_initial(item.path)]
    return fingerprint(
        [*own, File("images", json.dumps({name: item["id"] for name, item in pictures.items()}, sort_keys=True))]
    )


def changes_schema(entries: Sequence[Entry]) -> bool:
    """Whether releases that followed one another, oldest first, have left another schema than there was before.

    What somebody else changes between two of them does not count.
    """
    known = [item for item in entries if item.before and item.schema]
    return any(item.before != item.schema for item in known) and known[0].before != known[-1].schema


def way_back(entries: Sequence[Entry], target: Entry) -> str:
    """What a rollback to *target* would bring the database back from, by the records of all releases, oldest first.

    "copy", "backup", or "none" if there is neither; "not needed" if its schema is the same since. Empty for the release
    that serves, and for one that never served.
    """
    if target.outcome != SERVES or target == serving(entries):
        return ""
    if not changes_schema(since(entries, target)):
        return "not needed"
    known = ways_back(entries, target)
    if not known:
        return "none"
    return "copy" if known[0].guard else "backup"


def ways_back(entries: Sequence[Entry], target: Entry) -> List[Entry]:
    """The releases that began with the schema of *target*, and whose copy of the database or backup is known.

    The newest comes first: it has most of what was written since.
    """
    known = [item for item in since(entries, target) if item.before]
    return [item for item in reversed(known) if item.before == known[0].before and (item.guard or item.backup)]


def since(entries: Sequence[Entry], target: Entry) -> List[Entry]:
    """The releases that have served since *target* did, oldest first."""
    return [item for item in entries if item.number > target.number and item.outcome == SERVES]


def options(release: Release) -> Dict[str, Any]:
    """What a release needs beside its files, for whoever goes back to it without an inventory."""
    return {
        "generated": release.generated,
        "deadline": release.deadline,
        "deadlines": release.deadlines,
        "drain": release.drain,
    }


def release_of(
    base: Release, files: Sequence[File], hidden: Sequence[File], known: Optional[Mapping[str, str]] = None
) -> Release:
    """Make a release of files that were kept.

    base: what names the stack and how long things may take. files: see :func:`open_files`. hidden: those with
    secrets. known: the settings with secrets; those on the host if not given.
    """
    values = {}
    for item in files:
        if item.path == ENV_FILE:
            values = formats.parse_dotenv(item.content)
    every = every_secret_name()
    settings = {
        key: value
        for key, value in values.items()
        if key not in every and key not in ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE")
    }
    known = known_settings(base) if known is None else known
    compose_files = [name for name in values.get("COMPOSE_FILE", "").split(":") if name and name != images.OVERLAY]
    # A release from before they were kept takes those of today.
    needed = "".join(item.content for item in files if item.path in compose_files)
    missing = [path for path in CONFIDENTIAL if path in needed and path not in {item.path for item in files}]
    names = sorted({*base.secrets, *base.generated, *(place.secret for place in secret_files.TABLE)})
    return base._replace(
        files=[
            *(
                item._replace(
                    mode=0o600 if item.path in CONFIDENTIAL else 0o644,
                    secret=item.path in CONFIDENTIAL,
                    owner=CONFIDENTIAL.get(item.path),
                    initial=is_initial(item.path),
                )
                for item in files
                if item.path != ENV_FILE and item.path != images.OVERLAY
            ),
            *(item for item in hidden if item.path not in CONFIDENTIAL or item.path in missing),
        ],
        compose_files=compose_files,
        settings=settings,
        secrets={name: known[name] for name in names if known.get(name)},
        pull_always=False,
        # Those are of another release, whose tags may be the same.
        digests={},
        refuses_placeholders=False,
        pinned=images.parse(next((item.content for item in files if item.path == images.OVERLAY), None)),
    )


def is_initial(path: str) -> bool:
    """Whether the operator changes a file after it was written first."""
    return path.startswith(edge.UPSTREAMS + "/")


def hidden_files(directory: str, paths: Optional[Sequence[str]] = None) -> List[File]:
    """The files that no release has: those with secrets, but for what is made from the settings, and whom to believe.

    paths: as for :func:`open_files`.
    """
    found = []
    for path in recorded(directory) if paths is None else paths:
        full = os.path.join(directory, path)
        made = path in (ENV_FILE, secret_files.STORE) or path in secret_files.PATHS
        if made or not os.path.isfile(full):
            continue
        status = os.stat(full)
        if path == signatures.FILE:
            found.append(File(path, read(full) or ""))
        elif not status.st_mode & stat.S_IROTH:
            found.append(File(path, read(full) or "", stat.S_IMODE(status.st_mode), True, status.st_uid))
    return found


def age(entry: Entry) -> float:
    """Seconds since the deploy of a release began; 0 when the clock says that it is to come."""
    return max(0.0, float(int(time.time()) - moments.seconds(entry.time)))
