# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate and its key are fit for the edge."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ansible_collections.meywd.tamma.plugins.plugin_utils.certificates import judge
from tests.tools import authority

NOW = datetime.datetime.now(datetime.UTC)
NAMES = ["tamma.example.org", "*.apps.example.org"]


def made(directory: Path, days: int = 90) -> tuple[str, str]:
    directory.mkdir()
    authority.make(directory, NAMES, days)
    return (directory / "server.pem").read_text(), (directory / "server.key").read_text()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return made(tmp_path / "one")


def test_fit(pair: tuple[str, str]) -> None:
    assert judge(*pair, ["tamma.example.org", "Elsa.apps.example.org"], NOW) == ([], [])
    chain = pair[0] + pair[0]
    assert judge(chain, pair[1], ["tamma.example.org"], NOW) == ([], [])


@pytest.mark.parametrize("name", ["example.org", "a.tamma.example.org", "apps.example.org", "a.b.apps.example.org"])
def test_for_other_names(pair: tuple[str, str], name: str) -> None:
    (problem,), _ = judge(*pair, ["tamma.example.org", name], NOW)
    assert problem == f"tamma_stack_edge_certificate is not for {name}: give one that names it."


def test_ended(pair: tuple[str, str]) -> None:
    (problem,), _ = judge(*pair, NAMES, NOW + datetime.timedelta(days=91))
    assert problem.startswith("tamma_stack_edge_certificate has ended on ")


def test_ends_soon(pair: tuple[str, str]) -> None:
    problems, (warning,) = judge(*pair, NAMES, NOW + datetime.timedelta(days=80))
    assert problems == []
    assert warning.startswith("tamma_stack_edge_certificate ends on ")


def test_key_of_another_certificate(pair: tuple[str, str], tmp_path: Path) -> None:
    other = made(tmp_path / "other")
    (problem,), _ = judge(pair[0], other[1], NAMES, NOW)
    assert "does not belong to tamma_stack_edge_certificate" in problem


def test_no_pem(pair: tuple[str, str]) -> None:
    assert "is no certificate in PEM form" in judge("nonsense", pair[1], NAMES, NOW)[0][0]
    assert "is no private key in PEM form" in judge(pair[0], "nonsense", NAMES, NOW)[0][0]


def test_encrypted_key(pair: tuple[str, str]) -> None:
    key = serialization.load_pem_private_key(pair[1].encode(), None)
    hidden = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    ).decode()
    (problem,), _ = judge(pair[0], hidden, NAMES, NOW)
    assert "is encrypted" in problem
