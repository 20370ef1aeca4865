# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a secret is written so that its reader gets back exactly that secret.

These formats meet in the stack: Compose's ``.env``, an Npgsql connection string, a URL, and with
secret files ASP.NET's JSON, a script for Node.js and an Erlang term. Each function takes any
printable text and returns what stands in the file.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, Tuple
from urllib.parse import quote

# What ends a line or a text for one of the readers. Beyond ASCII no control character does.
_CONTROL = re.compile("[\x00-\x1f\x7f]")

# A value that Compose reads as it stands, so that it needs no quotes to the human reader either.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:/@+=%~")


def quote_dotenv(value: str) -> str:
    """Quote *value* for Compose's ``.env``.

    Double quotes are the only form that can hold every character: Compose knows no escape for a
    backslash before the closing single quote. Inside them ``\\`` and ``\"`` are escapes and ``$$``
    is a dollar sign (github.com/compose-spec/compose-go, dotenv/parser.go).

    Raises ValueError for control characters, which no service accepts in a setting.
    """
    if _CONTROL.search(value):
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


def first_rabbitmq_password(value: str) -> str:
    """Spell *value* for RabbitMQ's first start, which makes one byte of each character and ends at one beyond Latin 1.

    So each byte of the password's UTF-8, which is what clients send, has to arrive as a character.
    ASCII stays as it is.
    """
    return value.encode("utf-8").decode("latin-1")


def render_rabbitmq_config(values: Mapping[str, str]) -> str:
    """Write RabbitMQ's advanced configuration with the password of the first start, as bytes.

    *values* has one value, in the spelling of :func:`first_rabbitmq_password`. Any text would do in
    this form; in rabbitmq.conf there are characters that no value may contain.
    """
    password = "".join(values.values())
    numbers = ",".join(str(number) for number in password.encode("latin-1", "replace"))
    return "[{rabbit, [{default_pass, <<%s>>}]}].\n" % numbers


def render_appsettings(values: Mapping[str, str]) -> str:
    """Write ASP.NET's appsettings from variables by its own rule: two underscores separate the levels."""
    tree: Dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split("__")
        level = tree
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def render_node_environment(values: Mapping[str, str]) -> str:
    """Write a script that Node.js runs before the program (``--require``): it sets variables.

    JSON is JavaScript. What a program sets in its own environment no other process can see.
    """
    return "Object.assign(process.env, %s);\n" % json.dumps(values, indent=2, ensure_ascii=False)
