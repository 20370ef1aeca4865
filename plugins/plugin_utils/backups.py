# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator set about backups, judged on the controller: a sentence for everything that makes no sense."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.meywd.tamma.plugins.module_utils.backup_setup import TIMERS, WORKFLOWS
from ansible_collections.meywd.tamma.plugins.module_utils.elsa import retention
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.placeholders import is_placeholder
from ansible_collections.meywd.tamma.plugins.module_utils.places import path_problems
from ansible_collections.meywd.tamma.plugins.module_utils.retention import RULES
from ansible_collections.meywd.tamma.plugins.module_utils.signing import SHORTEST
from ansible_collections.meywd.tamma.plugins.plugin_utils import variables

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# It becomes a tag of restic's, and a comma would end that.
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]*")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEMES = ("local", "sftp", "rest", "s3", "swift", "b2", "azure", "gs", "rclone")
_REPOSITORY_KEYS = ("name", "location", "password", "environment")
# A share, one part of so many, or an amount, as restic takes them.
_SUBSET = re.compile(r"\d+(\.\d+)?%|[1-9]\d*/[1-9]\d*|\d+[KMGT]?")
# It stands in a unit of systemd.
_MOMENT = re.compile(r"[A-Za-z0-9 *.,:/~_+-]*")
_SHORTEST_PASSWORD = 12


def problems(settings: Mapping[str, Any]) -> list[str]:
    """One sentence for each; none repeats what may be a secret. settings: the role's variables without its prefix, and
    whether this is production.
    """
    found = [*_repositories(settings["repositories"], bool(settings["production"]))]
    host = str(settings["host"])
    if not _HOST.fullmatch(host):
        found.append(
            f"tamma_backup_host is {host!r}: it takes letters, digits, '.', '_', ':', '@' and '-', as backups are "
            "found by it."
        )
    found += _known("keep", settings["keep"], RULES)
    found += _known("schedule", settings["schedule"], (*TIMERS, WORKFLOWS))
    found += [
        f"tamma_backup_schedule has {str(moment)!a} for {name}: a time has letters, digits, spaces and any of "
        "'*.,:/~_+-'."
        for name, moment in sorted(settings["schedule"].items())
        if not _MOMENT.fullmatch(str(moment or ""))
    ]
    found += _workflows(settings)
    found += _known("overdue_hours", settings["overdue_hours"], tuple(TIMERS))
    for variable in ("keep", "overdue_hours"):
        found += [
            f"tamma_backup_{variable} says {count!r} for {name}: it takes a whole number, 0 or more."
            for name, count in sorted(settings[variable].items())
            if not re.fullmatch(r"\d+", str(count))
        ]
    key = str(settings.get("signing_key") or "")
    if key and (len(key) < SHORTEST or key != "".join(key.split())):
        found.append(
            f"tamma_backup_signing_key has less than {SHORTEST} characters, or white space in it: "
            "'openssl rand -hex 32' makes one; vault it."
        )
    elif key and is_placeholder(key):
        found.append(
            "tamma_backup_signing_key is a placeholder or easily guessed: 'openssl rand -hex 32' makes another one."
        )
    if not _SUBSET.fullmatch(str(settings["check_subset"])):
        found.append(
            f"tamma_backup_check_subset is {settings['check_subset']!r}: it takes a share such as 5%, a part such as "
            "1/7, or an amount such as 500M."
        )
    if int(settings["random_delay"]) < 0:
        found.append("tamma_backup_random_delay is less than 0: it takes seconds.")
    found += variables.no_address("tamma_backup_notify_webhook", settings["notify_webhook"])
    path = settings["metrics_file"]
    if path and not (path.startswith("/") and path.endswith(".prom")):
        found.append(
            f"tamma_backup_metrics_file is {path!r}: it is an absolute path that ends with .prom, because the node "
            "exporter reads no other files."
        )
    elif path:
        found += path_problems({"tamma_backup_metrics_file": path})
    return found


def warnings(settings: Mapping[str, Any]) -> Iterable[str]:
    """Find what somebody may regret."""
    if settings["production"] and not settings["repositories"]:
        yield (
            "Nothing of this stack is backed up, not even before an update: set tamma_backup_password or "
            "tamma_backup_repositories."
        )


def together(hosts: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Find hosts that store in one place: what is wrong with it, and what somebody may regret.

    hosts: name → whose backups it stores ("host"), its stack ("stack"), and its repositories.
    """
    places: dict[str, list[str]] = {}
    for name, known in hosts.items():
        for repository in known["repositories"]:
            location = str(repository.get("location") or "").rstrip("/")
            if ":" in location and not location.startswith("local:"):
                places.setdefault(location, []).append(name)
    problems = []
    warned = []
    for names in (sorted(set(found)) for found in places.values()):
        owners: dict[tuple[str, str], str] = {}
        for name in names:
            key = (str(hosts[name]["stack"]), str(hosts[name]["host"]))
            if key in owners:
                problems.append(
                    f"{owners[key]} and {name} store backups in one repository under the same name, {key[1]}: each "
                    "would restore and remove the other's. Give them different values of tamma_backup_host."
                )
            owners.setdefault(key, name)
        if len(names) > 1:
            warned.append(
                f"{', '.join(names)} store their backups in one repository: whoever is root on one of them can read "
                "and remove the backups of all. Give each a location and a password of its own (docs/backup.md)."
            )
    return problems, warned


def _workflows(settings: Mapping[str, Any]) -> Iterable[str]:
    text = str(settings["keep_workflows"])
    if not text:
        return
    try:
        retention(text)
    except OperatorError as exc:
        yield "tamma_backup_keep_workflows: %s" % exc.message
    if not settings["with_elsa"]:
        yield "tamma_backup_keep_workflows is set, and the profile lite has no ELSA: leave it out."
    elif not settings["schedule"].get(WORKFLOWS):
        yield "tamma_backup_keep_workflows is set, and tamma_backup_schedule has no time for it: add workflows there."


def _known(variable: str, values: Mapping[str, Any], names: Sequence[str]) -> Iterable[str]:
    for name in sorted(set(map(str, values)) - set(names)):
        yield f"tamma_backup_{variable} has {name}, which it does not know: it takes {', '.join(names)}."


def _repositories(repositories: Sequence[Mapping[str, Any]], production: bool) -> Iterable[str]:
    names: list[str] = []
    locations: dict[str, str] = {}
    for number, repository in enumerate(repositories, 1):
        name = str(repository.get("name") or "")
        called = f"the repository {name}" if _NAME.fullmatch(name) else f"the repository number {number}"
        if not _NAME.fullmatch(name):
            yield (
                f"tamma_backup_repositories: {called} has the name {name!r}, and a file is called after it: use "
                "letters, digits, '.', '_' and '-'."
            )
        elif name in names:
            yield f"tamma_backup_repositories has two repositories {name}: give one of them another name."
        names.append(name)
        yield from (f"tamma_backup_repositories: {called} {words}" for words in _of_one(repository, production))
        for key in sorted(set(map(str, repository)) - set(_REPOSITORY_KEYS)):
            near = difflib.get_close_matches(key, _REPOSITORY_KEYS, n=1)
            hint = f"did you mean {near[0]}" if near else f"it takes {', '.join(_REPOSITORY_KEYS)}"
            yield f"tamma_backup_repositories: {called} has the key {key}, which does not exist: {hint}."
        location = str(repository.get("location") or "").rstrip("/").removeprefix("local:")
        if location in locations and location:
            yield (
                f"tamma_backup_repositories: {called} is at the same location as {locations[location]}: two copies in "
                "one place are one copy."
            )
        locations[location] = name


def _of_one(repository: Mapping[str, Any], production: bool) -> Iterable[str]:
    location = str(repository.get("location") or "")
    scheme = location.partition(":")[0]
    if not location:
        yield "has no location: give it a directory of the host, or an address such as sftp:user@host:/path."
    elif not (location.removeprefix("local:").startswith("/") or (":" in location and scheme in _SCHEMES[1:])):
        yield (
            "has a location that is neither an absolute path nor begins with one of "
            f"{', '.join(word + ':' for word in _SCHEMES)}."
        )
    yield from _password(str(repository.get("password") or ""), production)
    environment = repository.get("environment") or {}
    for key in sorted(map(str, environment)):
        if not _ENVIRONMENT_NAME.fullmatch(key):
            yield f"has {key!r} in its environment, which is not the name of a variable."
        elif key.startswith(("RESTIC_REPOSITORY", "RESTIC_PASSWORD", "RESTIC_CACHE_DIR")):
            yield f"has {key} in its environment, which the collection sets itself: use location and password."
        elif any(sign in str(environment[key]) for sign in "\n\r\0"):
            yield f"has {key} in its environment with a line break in its value: give it as one line of text."


def _password(password: str, production: bool) -> Iterable[str]:
    if not password.strip():
        yield "has no password: without one restic stores nothing; take a long one, vault it, and keep a copy."
    elif password != password.strip() or any(sign in password for sign in "\n\r\0"):
        yield (
            "has a password that begins or ends with a space, or has a line break, which restic cuts off: take another."
        )
    elif production and len(password) < _SHORTEST_PASSWORD:
        yield (
            f"has a password of {len(password)} characters: in production it has at least {_SHORTEST_PASSWORD}, "
            "because whoever gets hold of the repository may try as often as they like."
        )
    elif production and is_placeholder(password):
        yield "has a password that is a placeholder or easily guessed, which production refuses: give it another one."
