# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts that store in one repository: each finds, restores, removes and proves its own backups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import backup
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import Configuration
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.operations import Operations
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository, Restic
from ansible_collections.meywd.tamma.plugins.module_utils.restore import Drill, Restoring
from tests.postgres.server import Server, Servers

# 2026-01-01: days apart, so that the retention removes something.
BEGIN = 1767225600
DAY = 86400


class Host:
    """One of the hosts: they have a stack of the same name, and one repository."""

    def __init__(self, server: Server, name: str, state: Path) -> None:
        self.server = server
        self.repository: Repository = server.repositories[0]._replace(host=name)
        configuration = Configuration(
            server.project, str(state / name), "", [self.repository], {"last": 1}, "5%", "", "", ""
        )
        self.operations = Operations(configuration, server.progress)

    @property
    def store(self) -> Restic:
        return self.operations.store()

    def ids(self) -> list[str]:
        return [item.id for item in backup.find(self.store, self.server.project)]

    def back_up(self, rows: int, moment: float) -> str:
        self.server.sql(f"DROP TABLE IF EXISTS mine; CREATE TABLE mine AS SELECT generate_series(1, {rows})")
        (one,) = backup.Taking(self.server.stack, [self.repository], self.server.progress, moment).take(
            "test", [], lambda _one: None
        )
        assert not one.problem
        return one.id

    def restore(self, which: str = "latest", host: str = "") -> int:
        store = self.operations._store_of(host, "")
        restoring = Restoring(self.server.stack, self.server.progress)
        restoring.apply(store, restoring.plan(store, which, ["database"]))
        return int(self.server.sql("SELECT count(*) FROM mine"))


@pytest.fixture
def hosts(servers: Servers, tmp_path: Path) -> Sequence[Host]:
    """Two hosts, and the machine as an earlier version knew it, which did not say whose a backup is."""
    server = servers()
    return [Host(server, name, tmp_path) for name in ("tamma1", "tamma2", "")]


def test_each_host_has_its_own_backups(hosts: Sequence[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, former = hosts
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "machine2")
        untold = former.back_up(70, BEGIN)
        second = [other.back_up(rows, BEGIN + rows * DAY) for rows in (20,)]
        assert other.ids() == [untold, *second]
    first = [one.back_up(rows, BEGIN + (rows + 5) * DAY) for rows in (10, 12)]
    assert one.ids() == first

    # The newest of all is the other host's.
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "machine2")
        second.append(other.back_up(22, BEGIN + 30 * DAY))
    assert one.restore() == 12
    assert one.restore(first[0]) == 10
    assert Drill(one.server.stack, one.server.progress).run(one.store).id == first[-1]

    # Another host's data only when somebody names the host.
    with pytest.raises(OperatorError, match=r"is one of the host tamma2: name that host \(tamma_backup_restore_host"):
        one.restore(second[0])
    assert one.restore(host="tamma2") == 22
    assert one.restore(untold, host="machine2") == 70

    left = one.store.store(
        {"stack": one.server.project, "backup": "dead", "part": "state", "host": "tamma2"},
        "2026-01-01 00:00:00",
        ["echo", "a part of a dead run"],
        "state",
    )
    assert one.operations._prune(one.store) == first[:-1]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "machine2")
        assert other.ids() == [untold, *second]
        assert left["snapshot_id"] in [item.id for item in one.store.snapshots({"part": "state"})]
        assert other.operations._prune(other.store) == [untold, *second[:-1]]
        assert other.ids() == second[-1:]
        assert left["snapshot_id"] not in [item.id for item in one.store.snapshots({"part": "state"})]
    assert one.ids() == first[-1:]


def test_a_new_host_is_told_whose_backups_there_are(hosts: Sequence[Host]) -> None:
    one, other, _former = hosts
    one.back_up(3, BEGIN)
    words = r"^The repository first has no backup of the stack \S+ of the host tamma2, but some of the host tamma1: "
    with pytest.raises(OperatorError, match=words):
        other.restore()
