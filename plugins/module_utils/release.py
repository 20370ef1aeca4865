# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release: what shall run on a host, and the settings that follow from it and from what the host has.

They stand in ``.env``. With secret files, which the overlay docker-compose.secrets.yml chooses, the
secrets among them stand in a store of their own instead, and what the services mount is made from it.
"""

from __future__ import annotations

import os
import secrets
from types import MappingProxyType
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import formats, placeholders, secret_files, servers
from ansible_collections.meywd.tamma.plugins.module_utils.files import (
    File,
    FileChange,
    changed_keys,
    compare,
    read,
    recorded,
)
from ansible_collections.meywd.tamma.plugins.module_utils.redact import Redactor, environment_in, settings_in
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login

ENV_FILE = ".env"
# What somebody adds to the Compose files.
OVERRIDES = "docker-compose.override.yml"
# What somebody adds to the environment of single services, as JSON.
SERVICE_ENVIRONMENT = "docker-compose.environment.yml"
# What not everybody may read, because it may hold anything, and is configuration all the same: path → owner.
CONFIDENTIAL: Dict[str, Optional[int]] = {
    OVERRIDES: None,
    SERVICE_ENVIRONMENT: None,
    # The user that the published engine image runs as.
    "engine/tamma.config.json": 1001,
}
_HEADER = "Written by the meywd.tamma collection: a change by hand lasts until the next deploy."

# 256 bits, in characters that need no quoting anywhere.
SECRET_BYTES = 32


class Release(NamedTuple):
    """What shall run on the host.

    files: everything but ``.env``. settings and secrets: what ``.env`` holds, secrets being those
    that are never shown; an empty secret counts as not given. generated: the names of secrets
    that are made up when neither given nor known from the host. compose_files: their order
    matters. deadlines: service → seconds to become ready, *deadline* for the others.
    drain: seconds that a replaced container has for what it still serves. refuses_placeholders: whether
    a secret that anybody could guess keeps the stack off. pinned: service → image with its digest, of a
    release that was there before. digests: image → the same, found out for a whole fleet. carried: whether the
    images came out of an archive, and no registry is asked.
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
    refuses_placeholders: bool = False
    pinned: Mapping[str, str] = MappingProxyType({})
    digests: Mapping[str, str] = MappingProxyType({})
    carried: bool = False


def secret_names(release: Release) -> List[str]:
    """The names in ``.env`` whose values are never shown."""
    return sorted({*release.secrets, *release.generated, *_MADE_FROM_SECRETS})


def every_secret_name() -> Set[str]:
    """The names in any ``.env`` whose values are never shown."""
    return {*_MADE_FROM_SECRETS, *(place.secret for place in secret_files.TABLE)}


def check_placeholders(release: Release, env: Mapping[str, str]) -> List[str]:
    """Find secrets in *env* that are none, given or kept on the host. Returns sentences, never with a value."""
    if not release.refuses_placeholders:
        return []
    given = placeholders.found(release.secrets, env)
    kept = placeholders.found([name for name in release.generated if name not in release.secrets], env)
    problems = [placeholders.refusal(name) for name in given]
    if kept:
        problems.append(
            "What this host has for %s is a placeholder or easily guessed, which production refuses: change it with "
            "the playbook rotate_secrets and -e tamma_stack_rotate=%s." % (" and ".join(kept), ",".join(kept))
        )
    return problems


def has_secret_files(release: Release) -> bool:
    """Whether the services read their secrets from files instead of the environment."""
    return secret_files.OVERLAY in release.compose_files


# The spellings of the database password that the Compose files put into longer strings.
DERIVED = {
    "POSTGRES_PASSWORD_NPGSQL": formats.quote_npgsql,
}

# What a container was told at its first start, when that is not the password of today: its
# definition stays what it was, so nothing makes a new container of it.
INITIAL = {
    "POSTGRES_INITIAL_PASSWORD": "POSTGRES_PASSWORD",
    "RABBITMQ_INITIAL_PASSWORD": "RABBITMQ_PASSWORD",
}


# What a former version made of the password, and may still be in an `.env`.
_FORMER = ("POSTGRES_PASSWORD_URL",)

_MADE_FROM_SECRETS = (*DERIVED, *INITIAL, *_FORMER, *servers.KEPT_SECRETS, secret_files.HASH_KEY)


def settings_on_host(directory: str) -> Dict[str, str]:
    """What the ``.env`` in a stack's directory and its store of secrets hold."""
    values = {}
    for name in (ENV_FILE, secret_files.STORE):
        values.update(formats.parse_dotenv(read(os.path.join(directory, name)) or ""))
    return values


def redactor_on_host(directory: str) -> Redactor:
    """What takes the secrets that a stack has on its host out of a text, such as the lines of a log."""
    known = settings_on_host(directory)
    hidden = [known.get(name, "") for name in every_secret_name()]
    files = {name: read(os.path.join(directory, name)) or "" for name in (OVERRIDES, SERVICE_ENVIRONMENT)}
    return Redactor([*hidden, *(value for name, text in files.items() for value in hidden_in(name, text))])


def hidden_in(name: str, text: str) -> List[str]:
    """The values in a file that holds settings: some of them may be secrets."""
    return environment_in(text) if name == SERVICE_ENVIRONMENT else settings_in(text)


def known_settings(release: Release) -> Dict[str, str]:
    """What the host has of a release's settings."""
    return settings_on_host(release.directory)


def wanted_files(release: Release, env: Dict[str, str], mounted: Iterable[File] = ()) -> List[File]:
    """Every file of a release with the settings *env*; *mounted* are its secret files, if it has any."""
    if not has_secret_files(release):
        return [*release.files, File(ENV_FILE, _render_env(release, env), 0o600, secret=True)]
    hidden = secret_names(release)
    open_values = {key: value for key, value in env.items() if key not in hidden}
    stored = {key: env[key] for key in sorted(env) if key in hidden and key not in DERIVED}
    return [
        *release.files,
        File(ENV_FILE, _render_env(release, open_values), 0o600, secret=True),
        File(secret_files.STORE, formats.render_dotenv([(_HEADER, {}), ("Secrets", stored)]), 0o600, secret=True),
        *mounted,
    ]


def every_setting(release: Release, env: Dict[str, str]) -> File:
    """One ``.env`` with everything, from which Compose works out what the services would be told without files."""
    return File(ENV_FILE, _render_env(release, env), 0o600, secret=True)


def compare_files(
    release: Release, env: Dict[str, str], mounted: Iterable[File] = ()
) -> Tuple[List[FileChange], Dict[str, List[str]]]:
    """Compare a release's files with the host's: changed files, and changed settings by name."""
    changes = compare(release.directory, wanted_files(release, env, mounted), recorded(release.directory))
    return changes, changed_keys(known_settings(release), env if not has_secret_files(release) else _stored(env))


def environment(release: Release, known: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Put ``.env`` together: given secrets first, then what the host already has (*known*), then new ones."""
    known = servers.of_containers(known_settings(release) if known is None else known)
    values = {
        "COMPOSE_PROJECT_NAME": release.project,
        "COMPOSE_FILE": ":".join(release.compose_files),
        **release.settings,
        **servers.spellings(release.settings, any(item.path == servers.POSTGRES_CA for item in release.files), known),
        **servers.kept(known, release.settings),
    }
    for name in [*release.secrets, *(name for name in release.generated if name not in release.secrets)]:
        value = release.secrets.get(name) or ""
        if not value and name in release.generated:
            value = known.get(name) or secrets.token_urlsafe(SECRET_BYTES)
        if value:
            values[name] = value
    for name, spell in DERIVED.items():
        if "POSTGRES_PASSWORD" in values:
            values[name] = spell(values["POSTGRES_PASSWORD"])
    values.update(_first_passwords(known, values))
    if has_secret_files(release):
        values[secret_files.HASH_KEY] = known.get(secret_files.HASH_KEY) or secrets.token_urlsafe(SECRET_BYTES)
    return values


def forget_first_password(env: Dict[str, str], name: str) -> None:
    """Take a password of a first start out of *env*, because there will be another first start."""
    del env[name]
    env.update(_first_passwords({key: env[key] for key in INITIAL if key in env}, env))


def _first_passwords(known: Mapping[str, str], values: Mapping[str, str]) -> Dict[str, str]:
    """What the containers were first told, or are to be told in another spelling."""
    found = {name: known[name] for name in INITIAL if known.get(name)}
    password = values.get("RABBITMQ_PASSWORD", "")
    spelled = formats.first_rabbitmq_password(password)
    if "RABBITMQ_INITIAL_PASSWORD" not in found and spelled != password and not values.get("RABBITMQ_HOST"):
        found["RABBITMQ_INITIAL_PASSWORD"] = spelled
    return found


def _stored(env: Dict[str, str]) -> Dict[str, str]:
    return {key: value for key, value in env.items() if key not in DERIVED}


def _render_env(release: Release, values: Dict[str, str]) -> str:
    hidden = set(secret_names(release))
    compose = ("COMPOSE_PROJECT_NAME", "COMPOSE_FILE")
    return formats.render_dotenv(
        [
            (_HEADER, {}),
            ("Which files Compose reads", {key: values[key] for key in compose}),
            ("Settings", {key: item for key, item in values.items() if key not in hidden and key not in compose}),
            ("Secrets", {key: values[key] for key in sorted(values) if key in hidden})
            if hidden.intersection(values)
            else ("The secrets are in %s" % secret_files.STORE, {}),
        ]
    )
