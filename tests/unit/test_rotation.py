# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotating secrets: what is refused, the journal, and what PostgreSQL is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path

import pytest
from hypothesis import given, settings

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Scram
from ansible_collections.meywd.tamma.plugins.module_utils.rotation import (
    BEGUN,
    CHANGED,
    JOURNAL,
    Journal,
    check,
    ended,
    note,
    pending,
    verifier,
)
from tests.unit.test_formats import printable

JUST_BEGUN = Journal({"POSTGRES_PASSWORD": "before"}, {"POSTGRES_PASSWORD": "after"}, BEGUN)


def test_a_journal_is_private_and_read_back(tmp_path: Path) -> None:
    assert pending(str(tmp_path)) is None
    note(str(tmp_path), JUST_BEGUN)
    assert os.stat(tmp_path / JOURNAL).st_mode & 0o777 == 0o600
    assert pending(str(tmp_path)) == JUST_BEGUN
    note(str(tmp_path), JUST_BEGUN._replace(step=CHANGED))
    assert pending(str(tmp_path)) == JUST_BEGUN._replace(step=CHANGED)
    ended(str(tmp_path))
    assert pending(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{}", "not JSON", '{"old": {}}'])
def test_a_journal_that_says_nothing_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    note(str(tmp_path), JUST_BEGUN)
    (tmp_path / JOURNAL).write_text(text)
    with pytest.raises(OperatorError, match="remove it, and rotate the same secrets again"):
        pending(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "known", "inventory", "problem"),
    [
        ("POSTGRES_PASSWORD", {"POSTGRES_PASSWORD": "before"}, {}, ""),
        ("POSTGRES_PASSWORD", {"POSTGRES_PASSWORD": "before"}, {"POSTGRES_PASSWORD": "after"}, ""),
        ("GITHUB_TOKEN", {"GITHUB_TOKEN": "before"}, {"GITHUB_TOKEN": "after"}, ""),
        ("GITHUB_TOKEN", {"GITHUB_TOKEN": "before"}, {"GITHUB_TOKEN": "before"}, "the value that it has already"),
        ("GITHUB_TOKEN", {"GITHUB_TOKEN": "before"}, {}, "no new value for GITHUB_TOKEN"),
        ("POSTGRES_PASSWORD", {}, {}, "no stack whose POSTGRES_PASSWORD"),
    ],
)
def test_what_can_be_rotated(name: str, known: dict[str, str], inventory: dict[str, str], problem: str) -> None:
    problems = check([name], known, inventory, ["POSTGRES_PASSWORD"])
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)
    assert "before" not in "".join(problems)


@settings(deadline=None, max_examples=20)
@given(printable)
def test_whoever_knows_the_password_proves_it_against_the_verifier(password: str) -> None:
    mechanism, _, rest = verifier(password).partition("$")
    iterations, salt, stored, server = rest.replace("$", ":").split(":")
    assert mechanism == "SCRAM-SHA-256"

    client = Scram(password, nonce="mine")
    first = "r=mineyours,s=%s,i=%s" % (salt, iterations)
    final, _, proof = client.answer(first).rpartition(",p=")
    message = ("n=,r=mine,%s,%s" % (first, final)).encode()
    signature = hmac.new(base64.b64decode(stored), message, hashlib.sha256).digest()
    key = bytes(one ^ other for one, other in zip(signature, base64.b64decode(proof), strict=True))
    assert hashlib.sha256(key).digest() == base64.b64decode(stored)
    answer = hmac.new(base64.b64decode(server), message, hashlib.sha256).digest()
    assert client.proves("v=" + base64.b64encode(answer).decode())
