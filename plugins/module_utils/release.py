# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release: what shall run on a host, and the ``.env`` that follows from it and from what the host has."""

from __future__ import annotations

import os
import secrets
from typing import Dict, List, NamedTuple, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import formats
from ansible_collections.meywd.tamma.plugins.module_utils.files import (
    File,
    FileChange,
    changed_keys,
    compare,
    read,
    recorded,
)
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login

ENV_FILE = ".env"

# 256 bits, in characters that need no quoting anywhere.
_SECRET_BYTES = 32


class Release(NamedTuple):
    """What shall run on the host.

    files: everything but ``.env``. settings and secrets: what ``.env`` holds, secrets being those
    that are never shown; an empty secret counts as not given. generated: the names of secrets
    that are made up when neither given nor known from the host. compose_files: their order
    matters. deadlines: service → seconds to become ready, *deadline* for the others.
    drain: seconds that a replaced container has for what it still serves.
    """

    project: str
    directory: str
    files: List[File]
    compose_files: List[str]
    settings: Dict[str, str]
    secrets: Dict[str, str]
    generated: List[str]
    pull_always: bool
    deadline: float
    deadlines: Dict[str, float]
    drain: float = 10
    registry_logins: Tuple[Login, ...] = ()


def secret_names(release: Release) -> List[str]:
    """The names in ``.env`` whose values are never shown."""
    return sorted({*release.secrets, *release.generated, *DERIVED})


# The spellings of the database password that the Compose files put into longer strings.
DERIVED = {
    "POSTGRES_PASSWORD_NPGSQL": formats.quote_npgsql,
    "POSTGRES_PASSWORD_URL": formats.quote_url,
}


def known_settings(release: Release) -> Dict[str, str]:
    """What the host's present ``.env`` holds."""
    return formats.parse_dotenv(read(os.path.join(release.directory, ENV_FILE)) or "")


def wanted_files(release: Release, env: Dict[str, str]) -> List[File]:
    """Every file of a release, ``.env`` with the settings *env* among them."""
    return [*release.files, File(ENV_FILE, _render_env(release, env), 0o600, secret=True)]


def compare_files(release: Release, env: Dict[str, str]) -> Tuple[List[FileChange], Dict[str, List[str]]]:
    """Compare a release's files with the host's: changed files, and changed settings by name."""
    changes = compare(release.directory, wanted_files(release, env), recorded(release.directory))
    return changes, changed_keys(known_settings(release), env)


def environment(release: Release) -> Dict[str, str]:
    """Put ``.env`` together: given secrets first, then what the host already has, then new ones."""
    known = known_settings(release)
    values = {
        "COMPOSE_PROJECT_NAME": release.project,
        "COMPOSE_FILE": ":".join(release.compose_files),
        **release.settings,
    }
    for name in [*release.secrets, *(name for name in release.generated if name not in release.secrets)]:
        value = release.secrets.get(name) or ""
        if not value and name in release.generated:
            value = known.get(name) or secrets.token_urlsafe(_SECRET_BYTES)
        if value:
            values[name] = value
    for name, spell in DERIVED.items():
        if "POSTGRES_PASSWORD" in values:
            values[name] = spell(values["POSTGRES_PASSWORD"])
    return values


def _render_env(release: Release, values: Dict[str, str]) -> str:
    hidden = secret_names(release)
    compose = ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE")
    return formats.render_dotenv(
        [
            ("Written by the meywd.tamma collection: a change by hand lasts until the next deploy.", {}),
            ("Which files Compose reads", {key: values[key] for key in compose}),
            ("Settings", {key: item for key, item in values.items() if key not in hidden and key not in compose}),
            ("Secrets", {key: item for key, item in values.items() if key in hidden}),
        ]
    )
