# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle: a directory that runs with ``docker compose up -d`` and nothing else, and can be renewed.

What its owner changed stays. Files are treated as dpkg treats configuration files: the record says
what was written, a file that still is that is renewed, another one is left alone and the new
version is put beside it, once. In ``.env`` no value is replaced; new settings are added at its end.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import files, formats
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, FileChange
from ansible_collections.meywd.tamma.plugins.module_utils.release import DERIVED, ENV_FILE, Release, environment

RECORD = ".tamma/bundle.json"
# What the bundle was made with, in a form that `ansible-playbook -e @` reads.
VARIABLES = ".tamma/variables.json"
EXAMPLE = ".env.example"
IGNORE = ".gitignore"
NEW = ".new"

# They do not make a directory somebody else's: a repository may be there before the bundle is.
_HARMLESS = {".git", IGNORE}

_HEADER = (
    "# Settings of this Tamma stack, which Docker Compose reads by itself. Keep this file to yourself.\n"
    "# Your values stay when the bundle is renewed.\n"
)
_ADDED = "# Added when the bundle was renewed; .env.example says what each setting means.\n"
# Means the same in an environment file, a connection string and a URL.
_PLAIN = re.compile(r"[A-Za-z0-9_-]*$")

_IGNORED = "# Secrets of the Tamma stack, and what its bundle remembers.\n"


class Bundle(NamedTuple):
    """What shall be in the directory.

    release: files, settings and secrets, as for a deploy. hashed: setting → the files whose
    content it stands for. given: names of the variables that it is made with, without those that
    ``.env`` keeps. variables: their values, without secrets; both are remembered.
    force: also in a directory that holds something else, and without variables that it was made with.
    """

    release: Release
    hashed: Dict[str, List[File]]
    given: List[str]
    variables: Dict[str, Any]
    force: bool


class Found(NamedTuple):
    """What is in the directory: the text of ``.env``, and what the last run recorded."""

    env: Optional[str]
    hashes: Dict[str, str]
    compose_file: str

    @property
    def settings(self) -> Dict[str, str]:
        """The settings in ``.env`` that have a value."""
        return {key: value for key, value in formats.parse_dotenv(self.env or "").items() if value}


class Plan(NamedTuple):
    """A bundle compared with its directory.

    kept: files that their owner changed. beside: those of them whose new version is put beside them.
    stays: settings for which ``.env`` keeps another value than this run would give them.
    """

    files: List[File]
    removed: List[str]
    changes: List[FileChange]
    settings: Dict[str, List[str]]
    values: Dict[str, str]
    kept: List[str]
    beside: List[str]
    stays: List[str]


def look(directory: str, given: Iterable[str], force: bool) -> Found:
    """Read the directory; *given* are the names of the variables that this run was given.

    Raises OperatorError where a bundle must not be written.
    """
    if os.path.exists(os.path.join(directory, files.RECORD)):
        raise OperatorError(
            "%s is the directory of a stack that was deployed from here: change it with the playbook site, or give the "
            "bundle another directory with tamma_bundle_directory." % directory
        )
    record = _read_json(os.path.join(directory, RECORD))
    if record is None and not force:
        try:
            strange = sorted(set(os.listdir(directory)) - _HARMLESS)
        except FileNotFoundError:
            strange = []
        if strange:
            raise OperatorError(
                "%s is not empty and not a bundle (it holds %s): give the bundle a directory of its own with "
                "tamma_bundle_directory, or allow this one with tamma_bundle_force=true; what is there stays."
                % (directory, strange[0] if len(strange) == 1 else "%s and more" % strange[0])
            )
    record = record or {}
    forgotten = sorted(set(record.get("given") or []) - set(given))
    if forgotten and not force:
        raise OperatorError(
            "The bundle in %s was made with %s, which this run was not given: add -e @%s, which has all of them but "
            "secrets, or set what should be different."
            % (directory, ", ".join(forgotten), os.path.join(directory, VARIABLES))
        )
    return Found(
        files.read(os.path.join(directory, ENV_FILE)),
        {str(path): str(digest) for path, digest in dict(record.get("files") or {}).items()},
        str(record.get("compose_file") or ""),
    )


def _read_json(path: str) -> Optional[Dict[str, Any]]:
    text = files.read(path)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise OperatorError("%s cannot be read: put back what it held, or remove it." % path)
    return content


def plan(bundle: Bundle) -> Plan:
    """Compare the bundle with its directory; changes nothing."""
    directory = bundle.release.directory
    found = look(directory, bundle.given, bundle.force)
    wanted, kept = [], []
    contents: Dict[str, str] = {}
    for item in bundle.release.files:
        chosen, contents[item.path] = _choose(directory, item, found.hashes.get(item.path))
        if chosen is None or chosen.path != item.path:
            kept.append(item.path)
        if chosen is not None:
            wanted.append(chosen)
    formerly = set(found.hashes) - {item.path for item in bundle.release.files}
    removed = sorted(path for path in formerly if _digest_of(directory, path) == found.hashes[path])

    computed = {
        setting: files.fingerprint(item._replace(content=contents[item.path]) for item in group)
        for setting, group in bundle.hashed.items()
    }
    values, stays = _values(bundle.release, found, computed)
    example = next((item.content for item in bundle.release.files if item.path == EXAMPLE), "")
    env = fill_in(example, values) if found.env is None else extend(found.env, values)
    ignored = [ENV_FILE, "/.tamma/", "/backups/", *("/" + item.path for item in bundle.release.files if item.secret)]
    record = {
        "compose_file": ":".join(bundle.release.compose_files),
        "given": sorted(bundle.given),
        "files": {item.path: _digest(item.content) for item in bundle.release.files},
    }
    wanted += [
        File(ENV_FILE, env, 0o600, secret=True),
        File(IGNORE, add_lines(files.read(os.path.join(directory, IGNORE)), ignored)),
        File(VARIABLES, json.dumps(bundle.variables, indent=2, sort_keys=True) + "\n", 0o600, secret=True),
        File(RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n", 0o600, secret=True),
    ]
    return Plan(
        wanted,
        removed,
        files.compare(directory, wanted, removed),
        files.changed_keys(formats.parse_dotenv(found.env or ""), formats.parse_dotenv(env)),
        values,
        kept,
        [item.path[: -len(NEW)] for item in wanted if item.path[: -len(NEW)] in kept],
        stays,
    )


def write(bundle: Bundle, planned: Plan) -> None:
    """Carry the plan out; the record comes last, so that a run that was cut off is repeated whole."""
    directory = bundle.release.directory
    changed = {change.path for change in planned.changes}
    if files.read(os.path.join(directory, RECORD)) is None:
        # It says that the directory is a bundle's.
        os.makedirs(directory, exist_ok=True)
        files.write(directory, [File(RECORD, "{}\n", 0o600, secret=True)])
    files.write(directory, [item for item in planned.files if item.path in changed])
    files.remove(directory, planned.removed)


def _choose(directory: str, item: File, recorded: Optional[str]) -> Tuple[Optional[File], str]:
    """Say what to write for *item* (nothing for None), and what its path holds afterwards."""
    item = item._replace(initial=False)
    there = files.read(os.path.join(directory, item.path))
    if there is None or there == item.content or _digest(there) == recorded:
        return item, item.content
    if _digest(item.content) == recorded:
        return None, there
    return item._replace(path=item.path + NEW), there


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _digest_of(directory: str, path: str) -> Optional[str]:
    there = files.read(os.path.join(directory, path))
    return None if there is None else _digest(there)


# -- .env -----------------------------------------------------------------------------------


def _values(release: Release, found: Found, computed: Dict[str, str]) -> Tuple[Dict[str, str], List[str]]:
    """What ``.env`` shall hold, and the settings whose value there is another than the wanted one."""
    known = found.settings
    values = environment(
        release._replace(
            settings={key: known.get(key, value) for key, value in release.settings.items()},
            secrets={key: known.get(key, value) for key, value in release.secrets.items()},
        )
    )
    # Whoever changes a plain password by hand need not know of its other spellings.
    if _PLAIN.match(values.get("POSTGRES_PASSWORD", "")) and not known.keys() & DERIVED.keys():
        values = {key: value for key, value in values.items() if key not in DERIVED}
    values.update((key, value) for key, value in known.items() if key in values and key not in DERIVED)
    compose_file = ":".join(release.compose_files)
    if values["COMPOSE_FILE"] == found.compose_file:
        values["COMPOSE_FILE"] = compose_file
    values.update(computed)
    wanted = {
        **release.settings,
        **release.secrets,
        "COMPOSE_PROJECT_NAME": release.project,
        "COMPOSE_FILE": compose_file,
    }
    stays = sorted(key for key, value in wanted.items() if value and key not in computed and values[key] != value)
    return {key: value for key, value in values.items() if value}, stays


def fill_in(example: str, values: Mapping[str, str]) -> str:
    """Make ``.env`` from the text of ``.env.example``: values stand where the example explains them.

    No value of the example itself is taken over: those are placeholders.
    """
    left = dict(values)
    lines = []
    # The first comment says what the example is.
    body = example.partition("\n\n")[2]
    for line in body.splitlines():
        match = re.match(r"(# )?([A-Z][A-Z0-9_]*)=", line)
        if match and match.group(2) in left:
            line = "%s=%s" % (match.group(2), formats.quote_dotenv(left.pop(match.group(2))))
        elif match and not match.group(1):
            line = "%s=" % match.group(2)
        lines.append(line)
    return "\n".join([_HEADER, *lines, *_assignments(left)]) + "\n"


def extend(text: str, values: Mapping[str, str]) -> str:
    """Bring *values* into a ``.env`` that is there: other lines stay as they are, new ones come last."""
    known = formats.parse_dotenv(text)
    left = {key: value for key, value in values.items() if known.get(key) != value}
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    for number, line in enumerate(lines):
        match = re.match(r"\s*(export\s+)?([A-Za-z_]\w*)\s*=", line)
        if match and match.group(2) in left:
            lines[number] = "%s%s=%s\n" % (
                match.group(1) or "",
                match.group(2),
                formats.quote_dotenv(left[match.group(2)]),
            )
    new = _assignments({key: value for key, value in left.items() if key not in known})
    if not new:
        return "".join(lines)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, "\n" if lines else "", _ADDED, *(line + "\n" for line in new)])


def _assignments(values: Mapping[str, str]) -> List[str]:
    return ["%s=%s" % (key, formats.quote_dotenv(value)) for key, value in values.items()]


# -- .gitignore -----------------------------------------------------------------------------


def add_lines(text: Optional[str], needed: Iterable[str]) -> str:
    """Add the lines that are missing at the end of a ``.gitignore``."""
    text = text or ""
    there = {line.strip() for line in text.splitlines()}
    missing = [line for line in needed if line not in there and "/" + line not in there]
    if not missing:
        return text
    if text and not text.endswith("\n"):
        text += "\n"
    return text + ("\n" if text else "") + _IGNORED + "".join(line + "\n" for line in missing)
