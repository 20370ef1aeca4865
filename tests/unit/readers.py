# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of the formats that the collection writes, made from the formats' own definitions."""

from __future__ import annotations

import re

# DbConnectionStringBuilder's grammar (System.Data.Common, DbConnectionOptions.ConnectionStringPattern).
_PAIR = re.compile(
    r"""
    [\s;]*
    (?P<key>(?:[^=\s\x00-\x1f\x7f-\x9f]|\s+[^=\s\x00-\x1f\x7f-\x9f]|\s+==|==)+)
    \s*=(?!=)\s*
    (?P<value>
        "(?:[^"\x00]|"")*"
      | '(?:[^'\x00]|'')*'
      | (?!["'\s])(?:[^;\s\x00-\x1f\x7f-\x9f]|\s+[^;\s\x00-\x1f\x7f-\x9f])*(?<!["'])
    )
    \s*(?:;|[\x00\s]*$)
    """,
    re.VERBOSE,
)


def read_connection_string(text: str) -> dict[str, str]:
    """Read an ADO.NET connection string as .NET does: keywords in lower case, later ones win."""
    values: dict[str, str] = {}
    position = 0
    while text[position:].strip("; \t"):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ValueError("not a connection string from position %d on" % position)
        value = pair["value"]
        if value[:1] in ("'", '"'):
            value = value[1:-1].replace(value[0] * 2, value[0])
        values[pair["key"].replace("==", "=").lower()] = value
        position = pair.end()
    return values
