# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tamma as it is, in production: workflows run once and are there after an update, and nobody reaches ELSA unasked."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

import pytest

from tests.bench import releases
from tests.bench.edge import LOGIN
from tests.bench.names import REGISTRY_ADDRESS, domain_name
from tests.bench.patience import wait_until
from tests.contract.test_elsa import KEY, delay, request, timer
from tests.integration.conftest import HOST, SANDBOX, Stack
from tests.integration.production import PRODUCTION, Production
from tests.tools.outcome import Outcome

pytestmark = pytest.mark.other_stack

ELSA = f"elsa.{domain_name(SANDBOX, HOST)}"
DEFINITIONS = "/elsa/api/workflow-definitions"
COUNTER = "http://counter:8080"
SETTINGS: dict[str, Any] = {
    "tamma_stack_version": releases.TODAY,
    # ELSA knows no other key than its own.
    "tamma_stack_elsa_api_key": "",
    "tamma_stack_edge_elsa_domain": ELSA,
    "tamma_stack_edge_elsa_open_paths": ["/workflows/open/*"],
    "tamma_stack_overrides": {
        "services": {
            # Its log says how often each workflow has asked.
            "counter": {
                "image": f"{REGISTRY_ADDRESS}/tamma-api:{releases.TODAY}",
                "entrypoint": ["python3", "-u", "-m", "http.server", "8080"],
                "command": [],
                "networks": ["tamma-net"],
            }
        }
    },
}


class Today(Production):
    """The stack."""

    def site(self, *options: str, **environment: str) -> Outcome:
        """Deploy it with settings of its own; images and addresses stay those of the inventory."""
        images = {
            name: f"{REGISTRY_ADDRESS}/{image}"
            for name, image in (("POSTGRES", "postgres:15"), ("RABBITMQ", "rabbitmq:3"), ("CADDY", "caddy:2"))
        }
        given = {f"{name}_IMAGE": image for name, image in images.items()}
        variables = {**PRODUCTION, **SETTINGS, "tamma_stack_environment": {**given, **environment}}
        return self.stack.play("site", *options, variables=variables)

    def deploy(self, **environment: str) -> Outcome:
        outcome = self.site(**environment)
        assert outcome.status == 0, outcome.output
        return outcome

    def elsa(self, path: str, data: Any = None) -> Any:
        """Ask ELSA from inside of its container."""
        command = ["curl", "-fsS", "-H", f"Authorization: {KEY['Authorization']}", f"http://127.0.0.1:5000{path}"]
        if data is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(data)]
        return json.loads(self.stack.shell(f"docker exec tamma-elsa-server-1 {shlex.join(command)}"))

    def save(self, name: str, *activities: dict[str, Any]) -> None:
        root = {"type": "Elsa.Sequence", "version": 1, "id": "sequence", "activities": list(activities)}
        self.elsa(DEFINITIONS, {"model": {"definitionId": name, "name": name, "root": root}, "publish": True})

    def counted(self, name: str) -> int:
        return self.stack.shell("docker logs tamma-counter-1 2>&1").count(f"GET /{name} ")

    def sql(self, statement: str) -> list[str]:
        psql = "cd /opt/tamma && docker compose exec -T postgres psql -U tamma -v ON_ERROR_STOP=1 -Atc "
        return self.stack.shell(psql + shlex.quote(statement)).splitlines()

    def from_outside(self, path: str, *options: str) -> int:
        """Return what the edge answers on ELSA's domain."""
        command = ["curl", "-sk", "--path-as-is", "--resolve", f"{ELSA}:443:127.0.0.1", "-o", "/dev/null"]
        return int(self.stack.shell(shlex.join([*command, "-w", "%{http_code}", *options, f"https://{ELSA}{path}"])))


@pytest.fixture(scope="module")
def today(stack: Stack) -> Today:
    found = Today(stack)
    found.deploy()
    return found


def test_workflows_run_once_and_continue_after_an_update(today: Today) -> None:
    today.save("waits", request(f"{COUNTER}/before"), delay(30), request(f"{COUNTER}/after"))
    today.save("ticks", timer(5), request(f"{COUNTER}/tick"))
    for _ in range(3):
        assert today.elsa(f"{DEFINITIONS}/waits/dispatch", {})["workflowInstanceId"]
    wait_until(lambda: today.counted("before") == 3, 60, "three workflows to begin")
    updated = today.deploy(ELSA_LOG_LEVEL="Debug")
    assert "elsa-server: requests wait, and the old one stops first" in updated.output
    ticks = today.counted("tick")
    wait_until(lambda: today.counted("after") == 3, 60, "three workflows to continue")
    wait_until(lambda: today.counted("tick") > ticks, 60, "the timer to fire")
    # Whatever would come twice is here by now.
    time.sleep(5)
    assert (today.counted("before"), today.counted("after")) == (3, 3)
    finished = today.elsa("/elsa/api/workflow-instances?page=0&pageSize=100&subStatus=Finished")
    assert sum(item["definitionId"] == "waits" for item in finished["items"]) == 3
    assert today.site(ELSA_LOG_LEVEL="Debug").unchanged


def test_the_api_starts_again_and_again_and_no_migration_fails(today: Today) -> None:
    for level in ("Warning", "Debug", "Information"):
        today.deploy(ELSA_LOG_LEVEL="Debug", DOTNET_LOG_LEVEL=level)
        log = today.stack.shell("cd /opt/tamma && docker compose logs --no-color tamma-api-dotnet 2>&1")
        assert "Failed executing" not in log
        assert "Error applying migrations" not in log
    assert log.count("Tamma API starting up") == 2
    assert log.count("Database migrations applied successfully") == 2
    assert today.sql("SELECT schemaname FROM pg_tables WHERE tablename = '__EFMigrationsHistory' ORDER BY 1") == [
        "Elsa",
        "public",
    ]


#: As a former version has left it: nothing says that this one was there.
UNMARKED = "COMMENT ON FUNCTION public.mentorship_touch() IS NULL; CREATE SCHEMA tamma;"


def test_what_a_former_version_has_put_elsewhere_is_moved_once(today: Today) -> None:
    today.sql(
        f'{UNMARKED} CREATE SCHEMA elsa; ALTER TABLE "__EFMigrationsHistory" SET SCHEMA tamma;'
        "INSERT INTO junior_developers (id, name) SELECT n::text, 'somebody' FROM generate_series(1, 50) AS n;"
        "ALTER TABLE junior_developers SET SCHEMA tamma"
    )
    said = today.site("--check", ELSA_LOG_LEVEL="Debug")
    assert "move tamma.__EFMigrationsHistory, tamma.junior_developers to the schema public" in said.output
    assert today.sql("SELECT count(*) FROM tamma.junior_developers") == ["50"]
    today.deploy(ELSA_LOG_LEVEL="Debug")
    assert today.sql("SELECT count(*) FROM public.junior_developers") == ["50"]
    assert today.sql("SELECT nspname FROM pg_namespace WHERE nspname IN ('tamma', 'elsa')") == []
    assert today.site(ELSA_LOG_LEVEL="Debug").unchanged
    today.sql(f"{UNMARKED} CREATE TABLE tamma.junior_developers (n integer)")
    refused = today.site(ELSA_LOG_LEVEL="Debug")
    assert refused.status != 0
    assert "The database has junior_developers (in tamma and in public) more than once" in refused.output
    assert today.sql("SELECT count(*) FROM public.junior_developers") == ["50"]
    today.sql("DROP SCHEMA tamma CASCADE; DELETE FROM junior_developers")


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        (DEFINITIONS, [], 401),
        (DEFINITIONS, ["-H", f"Authorization: {KEY['Authorization']}"], 401),
        (DEFINITIONS, ["-u", f"{LOGIN[0]}:wrong"], 401),
        (DEFINITIONS, ["-u", ":".join(LOGIN)], 200),
        # A browser that is logged in, on the page of somebody else.
        (DEFINITIONS, ["-u", ":".join(LOGIN), "-H", "Sec-Fetch-Site: cross-site"], 403),
        (DEFINITIONS, ["-u", ":".join(LOGIN), "-H", "Sec-Fetch-Site: same-origin"], 200),
        ("/elsa/api/identity/login", ["-d", '{"username": "admin", "password": "password"}'], 401),
        (
            "/elsa/api/identity/login",
            ["-u", ":".join(LOGIN), "-d", '{"username": "admin", "password": "password"}'],
            404,
        ),
        ("/ELSA/api/Identity/Login", ["-u", ":".join(LOGIN), "-d", "{}"], 404),
        ("/workflows/closed", [], 401),
        ("/workflows/closed", ["-u", ":".join(LOGIN), "-H", "Sec-Fetch-Site: cross-site"], 403),
        # Open, and no workflow has it.
        ("/workflows/open/x", [], 404),
        ("/workflows/open/x", ["-H", "Sec-Fetch-Site: cross-site"], 404),
        # Read in two ways by an edge and a service, so refused before the login.
        (f"/workflows/open/../..{DEFINITIONS}", [], 400),
        (f"/workflows/open/%2e%2e/%2e%2e{DEFINITIONS}", [], 400),
    ],
)
def test_elsa_from_outside(today: Today, path: str, options: list[str], status: int) -> None:
    assert today.from_outside(path, *options) == status


def test_the_engine_reaches_the_api_and_not_elsa(today: Today) -> None:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    addresses = today.stack.shell(f"docker inspect --format '{form}' tamma-elsa-server-1").split()
    assert addresses
    ask = "docker exec tamma-tamma-engine-1 wget -q -O /dev/null --tries=1 --timeout=2"
    assert today.stack.shell(f"{ask} http://tamma-api:3100/api/health && echo reached").strip() == "reached"
    for host in ("elsa-server", *addresses):
        assert today.stack.shell(f"{ask} http://{host}:5000/health || echo not reached").strip() == "not reached"
