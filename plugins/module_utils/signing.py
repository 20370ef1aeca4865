# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose backup it is: a manifest is signed with a key that only its host has, and no repository.

Whoever knows a repository's password can put a backup there, and a restore tells the server to run what is in one. A
manifest names the snapshots of its parts, whose ids restic makes of all that is in them: so it vouches for everything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from typing import Any, Dict, Mapping, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.configuration import CONFIGURATION
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, write

#: In the directory with a stack's settings.
FILE = "backup-signing.key"
_FIELD = "signature"
_ALGORITHM = "hmac-sha256"
SHORTEST = 32

# What is known of a manifest: signed by this host; there is no key here to tell; without a signature; another one's.
SIGNED = "signed"
UNKNOWN = "unknown"
UNSIGNED = "unsigned"
FOREIGN = "foreign"


def key(project: str, root: str = CONFIGURATION) -> str:
    """The key of this host for a stack; empty before its first backup, unless the operator gave one."""
    return (read(os.path.join(root, project, FILE)) or "").strip()


def make_key(project: str, root: str = CONFIGURATION) -> str:
    """The same; made when there is none."""
    found = key(project, root)
    if not found:
        found = secrets.token_hex(32)
        write(os.path.join(root, project), [File(FILE, found + "\n", 0o600, secret=True)])
    return found


def _whole(manifest: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in manifest.items() if name != _FIELD}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode("ascii")


def _digest(manifest: Mapping[str, Any], secret: str) -> str:
    return hmac.new(secret.encode("utf-8"), _whole(manifest), hashlib.sha256).hexdigest()


def signed(manifest: Mapping[str, Any], secret: str) -> Dict[str, Any]:
    """A manifest with its signature."""
    plain: Dict[str, Any] = json.loads(json.dumps(manifest))
    return {**plain, _FIELD: {"algorithm": _ALGORITHM, "value": _digest(plain, secret)}}


def verdict(manifest: Mapping[str, Any], secret: str) -> str:
    """What is known of a manifest, as it was read."""
    if not secret:
        return UNKNOWN
    given = manifest.get(_FIELD)
    if given is None:
        return UNSIGNED
    value = given.get("value") if isinstance(given, dict) and given.get("algorithm") == _ALGORITHM else None
    fits = isinstance(value, str) and hmac.compare_digest(value.encode("utf-8"), _digest(manifest, secret).encode())
    return SIGNED if fits else FOREIGN


def check(identifier: str, found: str, accepted: bool) -> Optional[str]:
    """Refuse a backup that this host has not signed, unless somebody has *accepted* it; return what is to be said."""
    if found == SIGNED:
        return None
    if found == UNKNOWN:
        return (
            "this host has no key yet, so nobody can tell who wrote the backup %s: give it the key of the host that "
            "took it (tamma_backup_signing_key), and it is checked" % identifier
        )
    why = {
        UNSIGNED: "bears no signature, as those of the collection before 0.6.0 do",
        FOREIGN: "does not bear the signature of this host",
    }[found]
    if accepted:
        return "the backup %s %s, and is taken all the same" % (identifier, why)
    raise OperatorError(
        "The backup %s %s: whoever knows the repository's password may have written it, and a restore does what is in "
        "it. If it is yours, say so (--unsigned, tamma_backup_restore_unsigned), or give this host the key of the one "
        "that took it (tamma_backup_signing_key)." % (identifier, why)
    )
