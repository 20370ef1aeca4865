# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups whose manifest has the first format: a fingerprint that no restore has again, and counts of its own kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import backup
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from tests.postgres import zoo
from tests.postgres.facts import contents, differences, reference
from tests.postgres.server import DATABASE, Server, Servers

KINDS = ["checks", "inheritance", "large_objects", "names", "sequences"]
#: Tables with what inherits from them, and names without quotes.
COUNTS = """
SELECT json_object_agg(nspname || '.' || relname, (xpath('/row/n/text()', query_to_xml(
  format('SELECT count(*) AS n FROM %I.%I', nspname, relname), false, true, '')))[1]::text::int)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'"""
SEQUENCES = """
SELECT json_object_agg(schemaname || '.' || sequencename, last_value) FROM pg_sequences WHERE last_value IS NOT NULL"""
#: An empty list of a role's setting came as PostgreSQL keeps it, which it does not take.
PROPERTIES = [["ALTER DATABASE ", ' SET search_path TO ""'], ["ALTER DATABASE ", " SET work_mem TO '9MB'"]]


def as_the_first_format(server: Server) -> dict[str, Any]:
    """The manifest of the newest backup as the former version would have written it."""
    (newest,) = backup.find(server.store, server.project)
    known = backup.manifest(server.store, newest)
    for name in ("objects", "schema", "creation"):
        del known[name]
    known |= {"format": 1, "fingerprint": "0" * 64, "properties": PROPERTIES}
    return known | {"counts": json.loads(server.sql(COUNTS)), "sequences": json.loads(server.sql(SEQUENCES))}


def put(server: Server, manifest: dict[str, Any], directory: Path) -> None:
    """Let a backup have this manifest."""
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    tags = {"stack": server.project, "backup": manifest["id"], "part": "manifest"}
    server.store.forget([one.id for one in server.store.snapshots(tags)])
    server.store.store(tags, manifest["time"].replace("T", " ").rstrip("Z"), directory=str(directory))


def test_a_backup_of_the_former_version_is_restored(servers: Servers, tmp_path: Path) -> None:
    server = servers()
    zoo.populate(server, KINDS)
    wanted = reference(server, DATABASE)
    server.backup()
    known = as_the_first_format(server)
    put(server, known, tmp_path)
    server.drill("server")
    server.restore()
    assert differences(contents(server.run, DATABASE), wanted) == {}
    told = "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'tamma'"
    assert server.sql(told, "postgres") == '{"search_path=\\"\\"",work_mem=9MB}'
    # It still proves something.
    known["counts"]["checks.varchars"] += 1
    put(server, known, tmp_path)
    with pytest.raises(OperatorError, match=r"checks\.varchars has 2 rows instead of 3"):
        server.drill("server")
