# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back further than the one copy of the database that a host keeps: by the backup from then."""

from __future__ import annotations

import json

import pytest

from tests.bench import data
from tests.integration.conftest import HOST, SANDBOX, Stack

pytestmark = pytest.mark.other_stack

CONTAINER = f"tamma-bench-{SANDBOX}-{HOST}"
FIRST, SECOND, THIRD = "0.1.0", "0.2.0", "0.3.0"
MEBIBYTES = 8
SETTINGS = {"tamma_backup_password": "a repository's throw-away password", "tamma_backup_schedule": {}}
WRITE = "INSERT INTO future_sessions (title) VALUES ('written since')"
COUNT = "SELECT count(*) FROM future_sessions WHERE title = 'written since'"


def test_a_copy_that_is_gone_is_made_of_the_backup_from_then(stack: Stack) -> None:
    deployed = stack.play("site", variables={**SETTINGS, "tamma_stack_version": FIRST})
    assert deployed.status == 0, deployed.output
    data.generate(CONTAINER, MEBIBYTES)
    before = data.values(CONTAINER)
    stack.shell(f"tammactl update {SECOND}")
    data.ask(CONTAINER, WRITE)
    stack.shell(f"tammactl update {THIRD}")
    plan = json.loads(stack.shell("tammactl --json rollback 1 --plan 2>/dev/null"))["rollback"]
    assert plan["database"].startswith("the backup "), plan

    done = json.loads(stack.shell("tammactl --json rollback 1 2>/dev/null"))
    assert data.values(CONTAINER) == before
    assert FIRST in stack.shell("curl -fsS http://127.0.0.1:3100/api/health")
    kept = f"docker compose exec -T postgres psql -XAtU tamma -d {done['kept_as']} -c"
    assert stack.shell(f'cd /opt/tamma && {kept} "{COUNT}"').strip() == "1"
    again = stack.play("site", variables={**SETTINGS, "tamma_stack_version": FIRST})
    assert again.status == 0, again.output
    assert again.unchanged, again.output

    # That outlives a release which migrates the database anew.
    stack.shell(f"tammactl update {SECOND}")
    assert stack.shell(f'cd /opt/tamma && {kept} "{COUNT}"').strip() == "1"

    # The rollback itself can be taken back: what served until then is the copy that is kept.
    stack.shell("tammactl rollback 3")
    assert data.ask(CONTAINER, COUNT).strip() == "1"
    assert THIRD in stack.shell("curl -fsS http://127.0.0.1:3100/api/health")
    # Without a number it is the release before the third one, not the one that was left just now.
    plan = json.loads(stack.shell("tammactl --json rollback --plan 2>/dev/null"))["rollback"]
    assert (plan["release"], plan["version"]) == (2, SECOND)
