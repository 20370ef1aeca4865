# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge of a production host, as somebody outside has it before him."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from tests.bench.edge import Edge
from tests.tools.deployed import edge_of


@pytest.fixture(scope="module")
def edge(host: Host) -> Edge:
    return edge_of(host)
