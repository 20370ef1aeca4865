"""Workflows that have ended go through ELSA's own API, and none that runs, waits or has failed."""

from __future__ import annotations

import time

import pytest

import tests.tools.checkout  # noqa: F401 - before anything of the collection is imported
from ansible_collections.meywd.tamma.plugins.module_utils import elsa as api
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres, PostgresSession

from .asking import until
from .postgres import PASSWORD, ROLE, Database
from .processes import Driver
from .test_elsa import delay, run, save, states, write

MANY = 5000
DAY = 86400.0
#: So many that have ended 40 days ago, a few that have failed or been cancelled then, and what ELSA noted of each.
GENERATE = f"""
INSERT INTO "Elsa"."WorkflowInstances" ("Id", "DefinitionId", "DefinitionVersionId", "Version", "Status", "SubStatus",
    "IncidentCount", "CreatedAt", "UpdatedAt", "FinishedAt", "Data")
SELECT 'old' || n, 'w', 'v', 1, 'Finished',
    CASE n % 1000 WHEN 0 THEN 'Faulted' WHEN 1 THEN 'Cancelled' ELSE 'Finished' END,
    0, now() - interval '41 days', now(), now() - interval '40 days', repeat('x', 500)
FROM generate_series(1, {MANY}) n;
INSERT INTO "Elsa"."ActivityExecutionRecords" ("Id", "WorkflowInstanceId", "ActivityId", "ActivityNodeId",
    "ActivityType", "ActivityTypeVersion", "StartedAt", "HasBookmarks", "Status")
SELECT "Id", "Id", 'a', 'a', 't', 1, now(), false, 'Completed' FROM "Elsa"."WorkflowInstances"
"""


def size(database: Database) -> int:
    server = Postgres("127.0.0.1", database.server.port, database.name, ROLE, PASSWORD, "disable")
    with PostgresSession(server) as session:
        return api.size(session)


def test_what_ended_long_ago_goes_and_nothing_else(elsa: Driver, database: Database) -> None:
    service = elsa.start(Serilog__MinimumLevel__Default="Warning").health()
    save(service, write(), delay(50))
    for _ in range(3):
        run(service, "execute")
    assert until(lambda: states(database) == ["Running Suspended"] * 3, 10)
    save(service, write())
    run(service, "execute")
    database.query(GENERATE)
    told: list[str] = []
    server, before = api.Elsa(service.url), time.time() - 30 * DAY
    large = size(database)
    failed = MANY // 1000
    assert api.prune(server, before, False, True, lambda _, words: told.append(words)) == MANY - failed
    assert (size(database), told) == (large, [])
    assert api.prune(server, before, False, False, lambda _, words: told.append(words)) == MANY - failed
    assert told[0].startswith("1000 of 4995")
    assert told[-1] == "4995 of 4995 finished workflows removed"
    assert sorted(states(database)) == [*["Finished Faulted"] * failed, "Finished Finished", *["Running Suspended"] * 3]
    assert size(database) < large / 20
    # What waits has its bookmark still, and those that failed go when somebody asks for it.
    assert database.query('SELECT count(*) FROM "Elsa"."Bookmarks"') == ["3"]
    assert api.prune(server, before, True, False, lambda *_: None) == failed
    assert api.prune(server, before, True, False, lambda *_: None) == 0


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43200), ("30d", 30 * DAY), ("8w", 56 * DAY)])
def test_a_time_after_which_they_go(text: str, seconds: float) -> None:
    assert api.retention(text) == seconds


@pytest.mark.parametrize("text", ["0d", "0", "", "30", "-1d", "1m", "d", "1.5d", "all"])
def test_no_time_after_which_they_go(text: str) -> None:
    with pytest.raises(OperatorError, match="is no time after which finished workflows may go"):
        api.retention(text)


def test_an_elsa_that_does_not_answer() -> None:
    with pytest.raises(OperatorError, match="ELSA does not tell its workflow instances: it answers nothing"):
        api.prune(api.Elsa("http://127.0.0.1:1"), 1, False, True, lambda *_: None)
