# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL that comes out of a backup: taken apart, looked at, and put together anew.

A backup is data, whoever wrote it. Of what a server is told because of one, nothing is passed on as it stands there:
the words have to be those of a statement that is known, in its order, and names and values are quoted again.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError


class Token(NamedTuple):
    """A piece of SQL. kind: "name", "value", "number", or a keyword or sign itself. text: without quotes."""

    kind: str
    text: str


_TOKEN = re.compile(
    r"""\s*(?:E'(?P<escaped>(?:[^'\\]|''|\\\\|\\')*)'|'(?P<plain>(?:[^']|'')*)'|"(?P<quoted>(?:[^"]|"")*)"
    |(?P<name>[a-z_][a-z0-9_$]*)|(?P<keyword>[A-Z_]+(?![a-z0-9"'$]))|(?P<number>-?[0-9]+)|(?P<sign>[,;]))""",
    re.VERBOSE,
)
# What "pg_dumpall" has beside statements about roles: comments, words for psql, and what it sets for itself.
_NO_STATEMENT = re.compile(r"\s*(?:(?:--|\\)[^\n]*(?:\n|\Z)|SET [a-z_]+ = (?:[a-z]+|'[A-Za-z0-9_]*');)|\s+\Z")
_TRUE = Token("true", "true")

_VALUES = "(?:value|name)(?: , (?:value|name))*"
_MAY = "(?:NO)?(?:SUPERUSER|INHERIT|CREATEROLE|CREATEDB|LOGIN|REPLICATION|BYPASSRLS)"
_ROLES = (
    r"CREATE ROLE name",
    r"ALTER ROLE name WITH(?: (?:%s))*(?: CONNECTION LIMIT number)?(?: PASSWORD value)?(?: VALID UNTIL value)?" % _MAY,
    r"ALTER ROLE name(?: IN DATABASE name)? SET name TO " + _VALUES,
    r"COMMENT ON ROLE name IS value",
)
_OPTION = "(?:ADMIN|INHERIT|SET) (?:OPTION|TRUE|FALSE)"
_MEMBERSHIP = r"GRANT name TO name(?: WITH %s(?: , %s)*)?(?: GRANTED BY name)?" % (_OPTION, _OPTION)
# How statements begin that make a role what it is, or a member.
_OF_ROLES = re.compile(r"(?:CREATE|ALTER|COMMENT ON) ROLE |GRANT name (?:,|TO) ")

# What belongs to a database itself: before its name, and after it.
_PROPERTIES = (
    ("REVOKE ALL ON DATABASE", "FROM PUBLIC"),
    ("GRANT (?:CREATE|CONNECT|TEMPORARY) ON DATABASE", "TO (?:PUBLIC|name)(?: WITH GRANT OPTION)?"),
    ("ALTER DATABASE|ALTER ROLE name IN DATABASE", "SET name TO " + _VALUES),
    ("COMMENT ON DATABASE|SECURITY LABEL FOR name ON DATABASE", "IS value"),
    ("ALTER DATABASE", "CONNECTION LIMIT number|IS_TEMPLATE true"),
)


class _Unknown(Exception):
    """What is no SQL that we write."""


def _tokens(text: str) -> List[Token]:
    found = []
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if not match:
            raise _Unknown(text)
        found.append(_token(match))
        place = match.end()
    return found


def _token(match: "re.Match[str]") -> Token:
    kind, text = str(match.lastgroup), match.group(str(match.lastgroup))
    if kind == "escaped":
        return Token("value", re.sub(r"''|\\\\|\\'", lambda pair: pair.group()[1], text))
    if kind == "plain":
        return Token("value", text.replace("''", "'"))
    if kind == "quoted":
        return Token("name", text.replace('""', '"'))
    if text == "true":
        return _TRUE
    return Token(kind if kind in ("name", "number") else text, text)


def _shape(tokens: Sequence[Token]) -> str:
    return " ".join(token.kind for token in tokens)


def _written(tokens: Sequence[Token]) -> str:
    words = ""
    for token in tokens:
        words += ("" if token.kind == "," or not words else " ") + _quoted(token)
    return words


def _quoted(token: Token) -> str:
    if token.kind == "value":
        quoted = token.text.replace("'", "''")
        # Means the same whatever the server thinks of a backslash.
        return "E'%s'" % quoted.replace("\\", "\\\\") if "\\" in quoted else "'%s'" % quoted
    if token.kind == "name" and not re.fullmatch("[a-z_][a-z0-9_]*", token.text):
        return '"%s"' % token.text.replace('"', '""')
    if token.kind == "name" and token.text in _RESERVED:
        return '"%s"' % token.text
    return token.text


# A name that is quoted only because it is such a word: PostgreSQL takes the others as names.
_RESERVED = frozenset(
    re.findall(
        "[a-z_]+",
        """all analyse analyze and any array as asc asymmetric authorization between binary both case cast check collate
        collation column concurrently constraint create cross current_catalog current_date current_role current_schema
        current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for
        foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral
        leading left like limit localtime localtimestamp natural none not notnull null offset on only or order outer
        overlaps placing primary public references returning right select session_user similar some symmetric
        system_user table tablesample then to trailing true union unique user using variadic verbose when where window
        with""",
    )
)


class Role(NamedTuple):
    """A statement about roles. names: of whom; sql: as we write it, with its end."""

    names: List[str]
    sql: str


def roles(dump: str) -> List[Role]:
    """The statements of "pg_dumpall --roles-only" that make roles, say what they may, and make them members.

    Raises OperatorError for what no version of it writes.
    """
    found = []
    place = 0
    try:
        while place < len(dump):
            passed = _NO_STATEMENT.match(dump, place)
            if passed:
                place = passed.end()
                continue
            statement: List[Token] = []
            while not (statement and statement[-1].kind == ";"):
                match = _TOKEN.match(dump, place)
                if not match:
                    raise _Unknown(dump[place:])
                statement.append(_token(match))
                place = match.end()
            found += _role(statement[:-1])
    except _Unknown as exc:
        raise OperatorError(
            "The roles in the backup are not what PostgreSQL writes of them ('%s'), so nothing of them is told to the "
            "server: use another backup, and find out who wrote this one." % _beginning(str(exc))
        ) from exc
    return found


def _role(tokens: Sequence[Token]) -> List[Role]:
    shape = _shape(tokens)
    names = [token.text for token in tokens if token.kind == "name"]
    if any(re.fullmatch(known, shape) for known in _ROLES):
        return [Role(names[:1], _written(tokens) + ";")]
    if re.fullmatch(_MEMBERSHIP, shape):
        return [Role(names[:2], _written(tokens) + ";")]
    if _OF_ROLES.match(shape + " "):
        raise _Unknown(_written(tokens))
    return []


def properties(pairs: Sequence[Sequence[str]]) -> List[List[str]]:
    """What belongs to a database itself, as a manifest has it: statements in two parts, its name belongs between."""
    found = []
    for head, tail in pairs:
        try:
            before, after = _tokens(head), _tokens(tail)
        except _Unknown:
            before, after = [], []
        shapes = _shape(before), _shape(after)
        if not any(re.fullmatch(one, shapes[0]) and re.fullmatch(other, shapes[1]) for one, other in _PROPERTIES):
            raise OperatorError(
                "The backup says of its database what no version of this collection writes ('%s'), so nothing of it is "
                "told to the server: use another backup, and find out who wrote this one."
                % _beginning("%s… %s" % (head, tail))
            )
        found.append([_written(before) + " ", " " + _written(after)])
    return found


def _beginning(text: str) -> str:
    """Enough to know it again; whatever it does to a terminal it does not do there."""
    line = " ".join(re.sub(r"[^\x20-\x7e]", " ", text).split())
    return line if len(line) <= 60 else line[:60] + "…"
