# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive of PostgreSQL's holds, read off the scripts that ``pg_restore`` and ``pg_dump`` print.

Rows and sequences are counted in the archive itself: whoever asked the server instead would have to lock every table
for as long as the dump takes, and would still count something else when a table is truncated meanwhile.
"""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Tuple

# The names of pg_restore's output are quoted where PostgreSQL's own quote_ident does it.
_NAME = r'(?:"(?:[^"]|"")*"|[^\s".(]+)'
_COPY = re.compile(r"COPY (%s\.%s) .*FROM stdin;\Z" % (_NAME, _NAME), re.DOTALL)
_SETVAL = re.compile(r"SELECT pg_catalog\.setval\('((?:[^']|'')*)', (-?\d+), (true|false)\);\Z", re.DOTALL)
_LARGE_OBJECT = "SELECT pg_catalog.lo_open("
_END_OF_ROWS = b"\n\\.\n"
_COMPLETE = "-- PostgreSQL database dump complete"


class Counted(NamedTuple):
    """What is in an archive.

    counts: table → rows. sequences: sequence → its last value, and whether that was given away. Both are called as
    PostgreSQL quotes them. large_objects: how many.
    """

    counts: Dict[str, int]
    sequences: Dict[str, Tuple[int, bool]]
    large_objects: int


class Reader:
    """Counts what a script of ``pg_restore --data-only`` brings, fed in pieces of any size.

    Rows themselves are never looked at: they may say anything.
    """

    def __init__(self) -> None:
        self.whole = False
        self._counted = Counted({}, {}, 0)
        self._large_objects = 0
        self._rest = b""
        # The table whose rows come, and the lines of a statement that has begun.
        self._table = ""
        self._statement: List[str] = []

    @property
    def counted(self) -> Counted:
        """What there was so far; everything once the script is whole."""
        return self._counted._replace(large_objects=self._large_objects)

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        data = self._rest + piece if self._rest else piece
        position = 0
        while position < len(data):
            end = self._rows(data, position) if self._table else self._line(data, position)
            if end == position:
                break
            position = end
        self._rest = data[position:]

    def _rows(self, data: bytes, position: int) -> int:
        """Count rows from the end of the line before them on; return where that ended."""
        end = data.find(_END_OF_ROWS, position)
        # Without an end there may be the beginning of one, which is looked at again with what comes next.
        until = end if end >= 0 else max(position, len(data) - len(_END_OF_ROWS) + 1)
        # As many lines end before the last row does as there are rows: the one before them, and all but the last.
        self._counted.counts[self._table] += data.count(b"\n", position, until)
        if end < 0:
            return until
        self._table = ""
        return end + len(_END_OF_ROWS)

    def _line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        if end < 0:
            return position
        self._take(data[position:end].decode("utf-8", "replace"))
        return end if self._table else end + 1

    def _take(self, line: str) -> None:
        """Take a line outside of rows. A name may have several lines, so that its statement has them as well."""
        if not self._statement:
            if line.startswith(_LARGE_OBJECT):
                self._large_objects += 1
            self.whole = self.whole or line == _COMPLETE
            if not line.startswith(("COPY ", "SELECT pg_catalog.setval(")):
                return
        self._statement.append(line)
        statement = "\n".join(self._statement)
        copy, setval = _COPY.match(statement), _SETVAL.match(statement)
        if copy and statement.count('"') % 2 == 0:
            self._table = copy.group(1)
            self._counted.counts[self._table] = 0
        elif setval:
            name, value, called = setval.groups()
            self._counted.sequences[name.replace("''", "'")] = int(value), called == "true"
        else:
            return
        self._statement = []


_HEADER = re.compile(r"^--\n-- Name: (.*); Type: ([^;\n]+); Schema: (.*); Owner: .*\n--\n\n", re.MULTILINE)
# What differs between two dumps of the same: a key that keeps psql from meta-commands, versions, and the time.
_NOISE = re.compile(
    r"^(?:\\(?:un)?restrict .*|-- Dumped (?:from|by) .*|-- (?:Started|Completed) on .*)\n", re.MULTILINE
)


def definitions(script: str) -> Dict[str, str]:
    """Split a script of ``pg_dump --schema-only`` into what it defines: "TABLE public.a" → its statements."""
    text = _NOISE.sub("", script)
    found: Dict[str, str] = {}
    heads = list(_HEADER.finditer(text))
    for number, head in enumerate(heads):
        name, kind, schema = head.groups()
        end = heads[number + 1].start() if number + 1 < len(heads) else len(text)
        key = "%s %s" % (kind, name if schema == "-" else "%s.%s" % (schema, name))
        body = text[head.end() : end].replace("--\n%s\n--" % _COMPLETE, "").strip()
        found[key] = "%s\n%s" % (found[key], body) if key in found else body
    return found


def compare(wanted: Dict[str, str], found: Dict[str, str]) -> List[str]:
    """Say what differs between two sets of definitions: each object with what it should be and what it is."""
    differences = []
    for key in sorted({*wanted, *found}):
        if wanted.get(key) != found.get(key):
            should, present = (_in_short(side.get(key)) for side in (wanted, found))
            differences.append("%s should be %s and is %s" % (key, should, present))
    return differences


def _in_short(statement: object, most: int = 300) -> str:
    if statement is None:
        return "absent"
    words = " ".join(str(statement).split())
    return "«%s»" % (words if len(words) <= most else words[:most] + "…")
