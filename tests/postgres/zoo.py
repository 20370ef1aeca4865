# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of object that PostgreSQL knows, each in a file of its own: ``zoo/<kind>.sql``.

What a kind makes is in the schema of its name, or has a name that begins with that. The first line of a file may say
since which version there is such a thing. The kind "database" is what belongs to the database itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from tests.postgres.server import DATABASE

HERE = Path(__file__).resolve().parent
#: What is made last, because it would see the others being made.
LAST = ("event_triggers", "since_17")


def kinds(version: int) -> list[str]:
    """The kinds that a version of PostgreSQL knows, in the order in which they can be made."""
    known = [path.stem for path in sorted((HERE / "zoo").glob("*.sql")) if _since(path) <= version]
    return sorted(known, key=lambda name: name in LAST)


def _since(path: Path) -> int:
    found = re.match(r"-- since PostgreSQL (\d+)\n", path.read_text(encoding="utf-8"))
    return int(found[1]) if found else 0


class Server(Protocol):
    """Whoever runs SQL in a database of a server."""

    def sql(self, script: str, database: str = ...) -> str:
        """Run a script and return what it printed."""


def populate(server: Server, some: Iterable[str], database: str = DATABASE) -> None:
    """Make some kinds in a database, with roles on its server."""
    scripts = []
    if server.sql("SELECT count(*) FROM pg_roles WHERE rolname ~ '^zoo'") == "0":
        scripts.append(_text("roles.sql"))
    for kind in some:
        scripts.append(f"CREATE SCHEMA {kind};\nSET search_path TO {kind}, public;\n{_text(f'zoo/{kind}.sql')}")
    server.sql("\n".join(scripts), database)


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
