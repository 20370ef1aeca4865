# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The login at GitHub: a token or an App, and one sentence for everything else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ansible_collections.meywd.tamma.plugins.plugin_utils.github_app import problems


def pem(key: PrivateKeyTypes, passphrase: bytes = b"") -> str:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return key.private_bytes(*form, encryption).decode()


RSA = rsa.generate_private_key(65537, 2048)
APP = {
    "tamma_stack_github_token": "",
    "tamma_stack_github_app_id": 1,
    "tamma_stack_github_app_installation_id": "22",
    "tamma_stack_github_app_private_key": pem(RSA),
}


def test_a_token_or_an_app() -> None:
    assert list(problems(APP, needed=True)) == []
    assert list(problems({"tamma_stack_github_token": "x"}, needed=True)) == []
    assert list(problems({}, needed=False)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict.fromkeys(APP), "tamma_stack_github_token is not set: give it a GitHub token"),
        ({"tamma_stack_github_token": "canary"}, "are both set, and one login is used"),
        ({"tamma_stack_github_app_id": ""}, "tamma_stack_github_app_id is no number"),
        ({"tamma_stack_github_app_installation_id": "mine"}, "tamma_stack_github_app_installation_id is no number"),
        ({"tamma_stack_github_app_private_key": ""}, "tamma_stack_github_app_private_key is not set"),
        ({"tamma_stack_github_app_private_key": "canary"}, "is no private key in PEM form"),
        ({"tamma_stack_github_app_private_key": pem(RSA)[:200]}, "is no private key in PEM form"),
        ({"tamma_stack_github_app_private_key": pem(RSA, b"canary")}, "is encrypted"),
        ({"tamma_stack_github_app_private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "is no RSA key"),
    ],
)
def test_refused(changes: dict[str, object], words: str) -> None:
    (problem,) = problems({**APP, **changes}, needed=True)
    assert words in problem
    assert "canary" not in problem
