# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a secret is written so that its reader gets back exactly that secret.

Three formats meet in the stack: Compose's ``.env``, an Npgsql connection string and a URL. Each
function takes any printable text and returns what stands in the file.
"""

from __future__ import annotations

import unicodedata
from typing import Dict, List, Mapping, Tuple
from urllib.parse import quote

# A value that Compose reads as it stands, so that it needs no quotes to the human reader either.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:/@+=%~")


def quote_dotenv(value: str) -> str:
    """Quote *value* for Compose's ``.env``.

    Double quotes are the only form that can hold every character: Compose knows no escape for a
    backslash before the closing single quote. Inside them ``\\`` and ``\"`` are escapes and ``$$``
    is a dollar sign (github.com/compose-spec/compose-go, dotenv/parser.go).

    Raises ValueError for control characters, which no service accepts in a setting.
    """
    if any(unicodedata.category(char) == "Cc" for char in value):
        raise ValueError("control characters cannot stand in an environment file")
    if value and all(char in _PLAIN for char in value):
        return value
    return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")


def unquote_dotenv(text: str) -> str:
    """Read what :func:`quote_dotenv` wrote; other forms of quoting are read as Compose does.

    Variables inside a value are not expanded: the operator never writes any.
    """
    text = text.strip()
    if text[:1] == "'":
        end = text.find("'", 1)
        while end > 0 and text[end - 1] == "\\":
            end = text.find("'", end + 1)
        return text[1 : end if end > 0 else None].replace("\\'", "'")
    if text[:1] != '"':
        return text.split(" #", 1)[0].rstrip()
    out: List[str] = []
    position = 1
    while position < len(text) and text[position] != '"':
        pair = text[position : position + 2]
        if pair in ('\\"', "\\\\", "\\$", "$$"):
            out.append(pair[1])
            position += 2
        else:
            out.append(text[position])
            position += 1
    return "".join(out)


def parse_dotenv(text: str) -> Dict[str, str]:
    """Read an environment file into a dictionary; lines that set nothing are passed over."""
    values: Dict[str, str] = {}
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("export "):
            line = line[len("export ") :].lstrip()
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values[key.strip()] = unquote_dotenv(value)
    return values


def render_dotenv(sections: List[Tuple[str, Mapping[str, str]]]) -> str:
    """Write an environment file: for each section a comment line and its settings in order."""
    blocks = []
    for title, values in sections:
        lines = ["# " + title]
        lines += ["%s=%s" % (key, quote_dotenv(value)) for key, value in values.items()]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def quote_npgsql(value: str) -> str:
    """Quote *value* for an ADO.NET connection string: in double quotes, inner ones doubled.

    Without quotes a semicolon ends the value and spaces at its ends are lost
    (learn.microsoft.com, DbConnectionStringBuilder).
    """
    return '"%s"' % value.replace('"', '""')


def quote_url(value: str) -> str:
    """Percent-encode *value* for the user information or path of a URL (RFC 3986)."""
    return quote(value, safe="")
