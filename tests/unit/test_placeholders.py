# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which secrets are none."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.formats import parse_dotenv
from ansible_collections.meywd.tamma.plugins.module_utils.placeholders import found, is_placeholder
from ansible_collections.meywd.tamma.plugins.module_utils.secret_files import TABLE
from tests.tools import stack_files

FILES = Path(__file__).resolve().parents[2] / "roles/tamma_stack/files"
SECRETS = {place.secret for place in TABLE}


def stack_s_own() -> set[str]:
    """Every value that the stack's files give a secret: in .env.example, and as a default in the Compose files."""
    example = parse_dotenv((FILES / "env.example").read_text(encoding="utf-8"))
    values = {example.get(name, "") for name in SECRETS}
    for text in stack_files.texts().values():
        values.update(re.findall(rf"\$\{{(?:{'|'.join(SECRETS)}):-([^$}}]+)\}}", text))
    return values - {""}


def test_the_stack_s_files_were_read() -> None:
    assert {"tamma_dev_only", "change_this_in_production", "dev-jwt-secret-change-in-production"} <= stack_s_own()


@pytest.mark.parametrize("value", sorted(stack_s_own()))
def test_what_stands_in_the_stack_s_files(value: str) -> None:
    assert is_placeholder(value)


@pytest.mark.parametrize(
    "value",
    [
        "ghp_your_github_token_here",
        "ghp_xxx",
        "sk-ant-your_anthropic_key_here",
        "sk-ant-xxxxxxxxxxxxxxxx",
        "strongpassword",
        "throw-away",
        "changeme",
        "***ChangeMe!***",
        "ch4ng3m3!!",
        "password",
        "P@ssw0rd",
        "Passw0rd2026!",
        "secret",
        "my_secret_key_12345",
        "admin",
        "admin/admin",
        "administrator1",
        "test",
        "test123456789",
        "tamma",
        "TammaTamma",
        "<your-token>",
        "letmein1",
        "123456",
        "12345678901234567890",
        "87654321",
        "qwertyuiop",
        "abcdefghijkl",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abababababababab",
        "................",
        "short1!",
    ],
)
def test_what_is_tried_first(value: str) -> None:
    assert is_placeholder(value)


@pytest.mark.parametrize(
    "value",
    [
        "k9Zr-41xTbQw",
        "sandbox-github-token",
        "correct horse battery staple",
        "tamma-4f9a1c7e",
        "password-of-our-own-Xq8",
        "0f1e2d3c4b5a",
        "83920164751830",
        "ghp_" + "k3J9xQm2Vb7Lr5Tz1Wc8",
    ],
)
def test_what_may_be_a_secret(value: str) -> None:
    assert not is_placeholder(value)


@given(st.builds(secrets.token_urlsafe, st.integers(16, 96)))
def test_what_is_made_up_is_never_refused(value: str) -> None:
    assert not is_placeholder(value)


@given(st.text(max_size=200))
def test_any_text_gets_an_answer(value: str) -> None:
    assert is_placeholder(value) in (True, False)


def test_only_what_is_set_is_found() -> None:
    values = {"A": "changeme", "B": "", "C": "k9Zr-41xTbQw", "D": "secret"}
    assert found(["A", "B", "C"], values) == ["A"]
