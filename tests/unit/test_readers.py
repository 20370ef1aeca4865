# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' own reader of connection strings, held to what Microsoft documents."""

from __future__ import annotations

import pytest

from tests.unit.readers import read_connection_string


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Password=plain;", "plain"),
        ("Password= trimmed ;", "trimmed"),
        ("Password=a=b;", "a=b"),
        ("Password=cut;off;", None),
        ("Password='it''s; one'", "it's; one"),
        ('Password="a ""b"" "', 'a "b" '),
        ('Password="it\'s"', "it's"),
        ("Password='open", None),
    ],
)
def test_a_value(text: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="position"):
            read_connection_string(text)
    else:
        assert read_connection_string(text) == {"password": value}
