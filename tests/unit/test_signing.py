# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who wrote a backup."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import signing
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

KEY, OTHER = "k" * 64, "o" * 64
MANIFEST: dict[str, Any] = {
    "id": "x",
    "parts": {"database": {"snapshot": "aa", "bytes": 1}},
    "pair": (1, True),
    "ü": "ü",
}


def stored(manifest: dict[str, Any]) -> dict[str, Any]:
    """As it comes out of a repository."""
    found: dict[str, Any] = json.loads(json.dumps(manifest, indent=1, sort_keys=True))
    return found


def test_a_manifest_is_known_by_its_host_alone() -> None:
    found = stored(signing.signed(MANIFEST, KEY))
    assert signing.verdict(found, KEY) == signing.SIGNED
    assert signing.verdict(found, OTHER) == signing.FOREIGN
    assert signing.verdict(found, "") == signing.UNKNOWN
    assert signing.verdict(stored(MANIFEST), KEY) == signing.UNSIGNED


@pytest.mark.parametrize(
    "change",
    [
        {"parts": {"database": {"snapshot": "bb", "bytes": 1}}},
        {"more": 1},
        {"signature": {}},
        {"signature": "x"},
        {"signature": None},
        {"signature": {"algorithm": "hmac-sha256", "value": 7}},
        {"signature": {"algorithm": "hmac-sha256", "value": "é"}},
        {"signature": {"algorithm": "none", "value": ""}},
    ],
)
def test_whatever_is_changed_is_seen(change: dict[str, Any]) -> None:
    found = {**stored(signing.signed(MANIFEST, KEY)), **change}
    assert signing.verdict(found, KEY) in (signing.FOREIGN, signing.UNSIGNED)


def test_a_key_is_made_once_and_for_root_alone(tmp_path: Path) -> None:
    assert signing.key("tamma", str(tmp_path)) == ""
    made = signing.make_key("tamma", str(tmp_path))
    assert len(made) == 64
    assert signing.make_key("tamma", str(tmp_path)) == signing.key("tamma", str(tmp_path)) == made
    path = tmp_path / "tamma" / signing.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("verdict", [signing.UNSIGNED, signing.FOREIGN])
def test_a_host_with_a_key_takes_no_other_backup_unless_told_to(verdict: str) -> None:
    with pytest.raises(
        OperatorError, match=r"--unsigned, tamma_backup_restore_unsigned\), or .+tamma_backup_signing_key"
    ):
        signing.check("x", verdict, accepted=False)
    assert "is taken all the same" in str(signing.check("x", verdict, accepted=True))


def test_a_new_host_is_told_what_it_cannot_know() -> None:
    assert "tamma_backup_signing_key" in str(signing.check("x", signing.UNKNOWN, accepted=False))
    assert signing.check("x", signing.SIGNED, accepted=False) is None
