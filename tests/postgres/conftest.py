# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers for the tests, with restic beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import restic
from tests.bench import engine, images
from tests.bench import restic as bench_restic
from tests.bench.command import one_at_a_time
from tests.postgres.server import Servers
from tests.postgres.server import servers as start


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers by version and settings: ``servers(17, {"wal_level": "logical"})``."""
    with one_at_a_time():
        engine.ensure()
        images.build(["postgres", "postgres-17", "debian-13"])
        programs = bench_restic.directory()
    with pytest.MonkeyPatch.context() as patch, start(lambda: tmp_path_factory.mktemp("postgres")) as found:
        patch.setattr(restic, "PROGRAM_PATH", f"{programs}:{restic.PROGRAM_PATH}")
        patch.setattr(restic, "CACHE", str(tmp_path_factory.mktemp("restic-cache")))
        yield found
