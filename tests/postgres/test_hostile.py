# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that somebody else wrote, who knows the repository's password."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import backup, signing
from ansible_collections.meywd.tamma.plugins.module_utils.backup import Taking
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.restore import Drill, Restoring
from tests.postgres.server import Server, Servers

KEY, ANOTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4
#: What a restore runs, as the role that restores: where it ran, and whether anybody is reached from there.
PROGRAM = r"""touch /tmp/was-here; ls /sys/class/net | tr "\n" " " > /tmp/networks"""
HOSTILE = f"""
CREATE FUNCTION run() RETURNS int LANGUAGE plpgsql AS
  $f$ BEGIN COPY (SELECT 1) TO PROGRAM '{PROGRAM}'; RETURN 1; END $f$;
CREATE MATERIALIZED VIEW evil AS SELECT public.run() AS done;
"""


def signed_backup(server: Server, key: str) -> None:
    (taken,) = Taking(server.stack, server.repositories[:1], server.progress, key=key).take(
        "test", [], lambda _one: None
    )
    assert not taken.problem


def plan(server: Server, key: str, unsigned: bool = False) -> str:
    work = Restoring(server.stack, server.progress, key=key, unsigned=unsigned)
    return work.plan(server.store, "latest", ["database"]).doubt


def test_what_a_backup_runs_does_not_run_in_the_live_server(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    server = servers()
    server.sql(HOSTILE)
    server.backup()
    server.run("rm", "-f", "/tmp/was-here", "/tmp/networks")
    seen = []
    original = Drill._restored

    def looked(self: Drill, store: object, manifest: object, comparison: object, *words: object) -> object:
        try:
            return original(self, store, manifest, comparison, *words)  # type: ignore[arg-type]
        finally:
            container = comparison.client._prefix[-1]  # type: ignore[attr-defined]
            seen.append(os.popen(f"docker exec {container} cat /tmp/networks").read())

    monkeypatch.setattr(Drill, "_restored", looked)
    Drill(server.stack, server.progress).run(server.store)
    # It ran, and nobody was there but itself.
    assert [networks.split() for networks in seen] == [["lo"]]
    assert server.run("sh", "-c", "ls /tmp/was-here 2>/dev/null || true") == ""


def test_a_host_with_a_key_restores_and_drills_its_own_alone(servers: Servers, tmp_path: Path) -> None:
    server = servers()
    server.sql("CREATE TABLE t AS SELECT 1 AS a")
    signed_backup(server, KEY)
    assert plan(server, KEY) == ""
    Drill(server.stack, server.progress, key=KEY).run(server.store)
    for work in (
        lambda: plan(server, ANOTHER),
        lambda: Drill(server.stack, server.progress, key=ANOTHER).run(server.store),
    ):
        with pytest.raises(OperatorError, match="does not bear the signature of this host"):
            work()
    assert "is taken all the same" in plan(server, ANOTHER, unsigned=True)
    assert "has no key yet" in plan(server, "")
    # A thief can put another manifest there, and not sign it.
    (newest,) = backup.find(server.store, server.project)
    found = json.loads(server.store.text(newest.snapshot, "/manifest.json"))
    found["properties"] = [["ALTER DATABASE ", " SET work_mem TO '9MB'"]]
    (tmp_path / "manifest.json").write_text(json.dumps(found), encoding="utf-8")
    tags = {"stack": server.project, "backup": newest.id, "part": "manifest"}
    server.store.forget([newest.snapshot])
    server.store.store(tags, "2026-01-01 00:00:00", directory=str(tmp_path))
    (forged,) = backup.find(server.store, server.project)
    assert backup.judged_manifest(server.store, forged, KEY)[1] == signing.FOREIGN
    with pytest.raises(OperatorError, match="does not bear the signature of this host"):
        plan(server, KEY)
