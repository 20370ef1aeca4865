# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of the formats that the collection writes, made from the formats' own definitions."""

from __future__ import annotations

import json
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


# A tuple in a list, with a binary that is written as its bytes (erlang.org, Erlang Reference Manual, Bit Syntax).
_DEFAULT_PASS = re.compile(r"\[\{rabbit, \[\{default_pass, <<((?:\d+(?:,\d+)*)?)>>\}\]\}\]\.\s*")


def read_erlang_bytes(text: str) -> bytes:
    """Read RabbitMQ's advanced configuration: the bytes of ``default_pass``."""
    found = _DEFAULT_PASS.fullmatch(text)
    if found is None:
        raise ValueError("not the term that RabbitMQ consults")
    return bytes(int(number) for number in found[1].split(",") if number)


def read_node_environment(script: str) -> dict[str, str]:
    """Read a script that assigns a JSON object to ``process.env``; JSON is JavaScript since ECMAScript 2019."""
    before, after = "Object.assign(process.env, ", ");\n"
    if not (script.startswith(before) and script.endswith(after)):
        raise ValueError("not one assignment")
    values: dict[str, str] = json.loads(script[len(before) : -len(after)])
    return values


def read_secret_file(name: str, variable: str, content: str) -> str:
    """What *variable* would say, from the secret file that stands for it."""
    if name.endswith(".json"):
        value = json.loads(content)
        for level in variable.split("__"):
            value = value[level]
        return str(value)
    if name.endswith(".cjs"):
        return read_node_environment(content)[variable]
    if name.endswith(".config"):
        return read_erlang_bytes(content).decode("latin-1")
    return content
