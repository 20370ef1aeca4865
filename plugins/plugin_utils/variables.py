# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variable that the collection's roles understand, read from their argument specifications."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.yaml import yaml_load

# Where a text was read from ansible-core tells nobody officially; without it nothing counts as clear text.
with contextlib.suppress(ImportError):
    from ansible._internal._datatag._tags import Origin

_VAULT = "$ANSIBLE_VAULT;"

# So near that it is a slip of the finger: a user's own tamma_github_token is farther away.
_CLOSE = 0.89
_CLOSE_PREFIX = 0.75


def known(collection: Path) -> set[str]:
    """The names of all role variables of the collection in *collection*."""
    names: set[str] = set()
    for spec in sorted(collection.glob("roles/*/meta/argument_specs.yml")):
        for entry in yaml_load(spec.read_text(encoding="utf-8"))["argument_specs"].values():
            names.update(entry.get("options") or {})
    return names


def unknown(found: Iterable[str], names: set[str]) -> list[tuple[str, str]]:
    """Variables that look like ours and are not: (name, the nearest known one or "").

    A name counts as ours when it begins with a role's prefix, or is a slip away from a known name.
    """
    prefixes = {"_".join(name.split("_")[:2]) + "_" for name in names}
    problems = []
    for name in sorted(found):
        if name in names or name.startswith("_"):
            continue
        # vault_tamma_stack_… and the like are the user's own.
        if difflib.SequenceMatcher(None, re.split("[_-]", name)[0], "tamma").ratio() < _CLOSE_PREFIX:
            continue
        near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=_CLOSE)
        if near or any(name.startswith(prefix) for prefix in prefixes):
            problems.append((name, near[0] if near else ""))
    return problems


def no_address(name: str, value: str) -> Iterable[str]:
    """Say it when a variable is set and is no address of a webhook; the address itself may be a secret."""
    parts = urlsplit(value)
    if value and not (parts.scheme in ("http", "https") and parts.hostname):
        yield "%s is no address: it begins with https:// or http:// and a host." % name


def is_clear_text(value: Any) -> bool:
    """Whether a variable, as it is written, stands in a file as it is: neither encrypted nor taken from elsewhere."""
    if not isinstance(value, str) or "{{" in value or "Origin" not in globals():
        return False
    path = getattr(Origin.get_tag(value), "path", None)
    if not path:
        return False
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(len(_VAULT)) != _VAULT
    return False
