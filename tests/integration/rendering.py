# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack's files with secrets that break what can be broken, as the operator writes them into a directory."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.files import File
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release
from ansible_collections.meywd.tamma.plugins.module_utils.secret_files import OVERLAY, TABLE
from tests.tools import stack_files
from tests.unit.readers import read_connection_string

TEXTS = stack_files.texts()
SECRETS = tuple(sorted({place.secret for place in TABLE}))

# Letters, marks, digits, punctuation and symbols of every script, and the space.
printable = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
awkward = st.sampled_from("\\\"'$#{}=;: %@/`!*ab-é")
secret = st.one_of(st.text(printable, max_size=128), st.text(awkward, max_size=16)).map(str.strip).filter(bool)

# Chosen for what each would break: quoting, interpolation, comments, connection strings, URLs, options, encodings.
NASTY = [
    'it\'s "quoted"',
    '"',
    '\\"',
    "ends with \\",
    "$HOME ${HOME:-x} $$ \\$ $(id) `id`",
    "# no comment # at all",
    ";Host=elsewhere;Password=",
    "p@ss:w/rd?#%41[]&x=y",
    "-x --help",
    "~!@#$%^&*()_+`-={}|[]\\:\";'<>?,./",
    "x" * 128,
    "häß€𝄞 日本語 ¿",
]


def release(
    directory: Path,
    secrets: dict[str, str],
    *overlays: str,
    files: bool = False,
    settings: dict[str, str] | None = None,
) -> Release:
    """The stack in a directory, without secret files or with them."""
    names = ["docker-compose.yml", *([OVERLAY] if files else []), *overlays]
    return Release(
        project="tamma",
        directory=str(directory),
        files=[File(name, TEXTS[name]) for name in names],
        compose_files=names,
        settings=settings or {},
        secrets=secrets,
        generated=["ELSA_SIGNING_KEY", "TAMMA_JWT_SECRET"],
        pull_always=False,
        deadline=0,
        deadlines={},
    )


def password_in(variable: str, value: str) -> str:
    """The secret in what a variable says, as the service that has it understands that."""
    if variable == "ConnectionStrings__DefaultConnection":
        return read_connection_string(value)["password"]
    if variable == "RABBITMQ_DEFAULT_PASS":
        # RabbitMQ makes a byte of each character, and its clients send UTF-8.
        return value.encode("latin-1").decode("utf-8")
    return value
