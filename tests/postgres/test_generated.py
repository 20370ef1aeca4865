# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hypothesis makes up comes back from a backup as well."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, note, reject, settings

from tests.postgres.facts import contents, differences, reference
from tests.postgres.generated import scripts
from tests.postgres.server import DATABASE, Server, Servers

#: What fails is shown as it is when every example takes seconds and nobody has asked for many.
FEW = settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=150, derandomize=False, phases=list(Phase))


def comes_back(server: Server, script: list[str], *drills: str) -> None:
    """Make a schema, and prove that a backup brings it back."""
    server.fresh()
    # What fails is left out: it is no less a schema without it.
    server.run("psql", "-qXAt", "-U", "tamma", "-d", DATABASE, stdin=";\n".join([*script, ""]), check=False)
    try:
        wanted = reference(server, DATABASE)
    except AssertionError:
        # What PostgreSQL itself cannot bring back is none of our business.
        reject()
    assert [key for key in wanted if ": TABLE " in key], "nothing was made"
    note("\n".join(script))
    server.backup()
    for where in drills:
        server.drill(where)
    server.restore()
    wrong = differences(contents(server.run, DATABASE), wanted)
    assert not wrong, wrong


@FEW
@given(script=scripts())
def test_what_is_made_up_comes_back(servers: Servers, script: list[str]) -> None:
    comes_back(servers(), script)


@pytest.mark.fault_matrix
@pytest.mark.parametrize("version", [15, 17])
def test_much_of_what_is_made_up_comes_back(servers: Servers, version: int) -> None:
    server = servers(version)

    @MANY
    @given(script=scripts())
    def each(script: list[str]) -> None:
        comes_back(server, script, "server", "container")

    each()
