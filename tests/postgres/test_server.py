# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack that these tests use is one to the tools, and everything they do to it works on a plain table."""

from __future__ import annotations

import pytest

from tests.postgres.server import Servers


@pytest.mark.parametrize("version", [15, 17])
def test_a_plain_table_comes_back(servers: Servers, version: int) -> None:
    server = servers(version)
    assert server.stack.writers == []
    assert server.sql("SHOW server_version_num").startswith(str(version))
    server.sql("CREATE TABLE plain AS SELECT generate_series(1, 100) AS n")
    assert len(server.backup(2)) == 2
    server.drill("server")
    server.drill("container")
    server.sql("DELETE FROM plain")
    server.restore()
    assert server.sql("SELECT sum(n) FROM plain") == "5050"
    server.emptied()
    server.restore()
    assert server.sql("SELECT sum(n) FROM plain") == "5050"
    copying = server.database()
    copying.copy("guard")
    server.sql("DROP TABLE plain")
    copying.swap("guard", "failed")
    assert server.sql("SELECT sum(n) FROM plain") == "5050"
    server.fresh()
    assert server.databases() == ["tamma"]
