# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack that these tests use is one to the tools, and each test gets it empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres.server import Servers


@pytest.mark.parametrize("version", [15, 17])
def test_a_server_is_a_stack_and_can_be_made_fresh(servers: Servers, version: int) -> None:
    server = servers(version)
    assert server.stack.writers == []
    assert server.sql("SHOW server_version_num").startswith(str(version))
    server.sql("CREATE ROLE somebody; CREATE DATABASE another; CREATE TABLE plain AS SELECT 1 AS n")
    server.backup()
    server.fresh()
    assert server.databases() == ["tamma"]
    assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'somebody'") == "0"
    assert server.sql("SELECT count(*) FROM pg_class WHERE relname = 'plain'") == "0"
    assert not Path(server.repositories[0].location).exists()
