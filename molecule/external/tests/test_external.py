"""A stack whose database and broker are on another host: who talks to them, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import testinfra
import yaml
from testinfra.host import Host

from tests.tools.deployed import compose, env, get, site

SCENARIO = yaml.safe_load((Path(__file__).parents[1] / "molecule.yml").read_text(encoding="utf-8"))
LOGIN: dict[str, str] = SCENARIO["provisioner"]["inventory"]["group_vars"]["sandbox"]["external_login"]
SESSIONS = "http://127.0.0.1:3000/api/mentorship/sessions"
ELSA = "http://127.0.0.1:5000/elsa/api"


@pytest.fixture(scope="module")
def servers() -> Host:
    """The host with the database and the broker."""
    inventory = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "inventories" / "sandbox"
    return testinfra.get_host("ansible://tamma2", ansible_inventory=str(inventory))


def psql(servers: Host, sql: str) -> str:
    command = "runuser --user postgres -- psql --dbname %s -Atc %s"
    return str(servers.check_output(command, LOGIN["database"], sql))


def test_the_services_are_let_in_with_tls(servers: Host) -> None:
    who = (
        "SELECT DISTINCT application_name, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = '%s'"
    )
    assert sorted(psql(servers, who % LOGIN["role"]).splitlines()) == [
        "elsa-server|t",
        "tamma-api-dotnet|t",
    ]


def test_nothing_of_the_containers_was_made(host: Host) -> None:
    made = host.check_output("docker volume ls --quiet --filter label=com.docker.compose.project=tamma").split()
    assert sorted(made) == ["tamma_tamma-api-workdir", "tamma_tamma-elsa-storage", "tamma_tamma-engine-workdir"]
    images = host.check_output("docker image ls")
    assert "postgres" not in images
    assert "rabbitmq" not in images


def test_the_init_sql_ran_as_the_stacks_role(servers: Host) -> None:
    owner = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'Elsa')"
    assert psql(servers, owner) == LOGIN["role"]
    assert psql(servers, "SELECT count(*) FROM mentorship_sessions") == "0"
    assert psql(servers, "SELECT count(*) FROM pg_extension WHERE extname = 'uuid-ossp'") == "1"


def test_what_is_written_is_in_the_database(host: Host, servers: Host) -> None:
    # And still there when the stack is gone: see cleanup.yml.
    get(host, SESSIONS, "--json", json.dumps({"title": "written through the stack"}))
    assert psql(servers, "SELECT title FROM future_sessions") == "written through the stack"


def test_a_workflow_runs_and_its_instance_is_in_the_database(host: Host, servers: Host) -> None:
    key = ("--header", "Authorization: ApiKey 00000000-0000-0000-0000-000000000000")
    text = {"typeName": "String", "expression": {"type": "Literal", "value": "it runs"}}
    write = {"type": "Elsa.WriteLine", "version": 1, "id": "write", "text": text}
    model = {"definitionId": "tried", "name": "tried", "root": {"type": "Elsa.Sequence", "activities": [write]}}
    get(host, f"{ELSA}/workflow-definitions", *key, "--json", json.dumps({"model": model, "publish": True}))
    get(host, f"{ELSA}/workflow-definitions/tried/execute", *key, "--json", "{}")
    assert psql(servers, 'SELECT "SubStatus" FROM "Elsa"."WorkflowInstances"') == "Finished"


def test_the_broker_takes_what_a_client_of_the_stack_sends(host: Host, servers: Host) -> None:
    # No service of Tamma has anything to do with it today: the bench's own client stands in, with what ELSA is told.
    engine_exec = "cd /opt/tamma && docker compose exec -T elsa-server python3 -m standin.broker"
    assert host.check_output(f"{engine_exec} send 'kept in a queue'") == ""
    listed = servers.check_output(
        "rabbitmqctl --quiet --no-table-headers list_queues --vhost %s messages", LOGIN["vhost"]
    )
    assert listed == "1"
    assert host.check_output(f"{engine_exec} take") == "kept in a queue"


def test_a_refusal_tells_every_problem_and_changes_nothing(host: Host) -> None:
    before = compose(host, "ps", "--quiet"), env(host)
    refused = site({"tamma_stack_postgres_password": "wrong-one", "tamma_stack_rabbitmq_vhost": "missing"})
    assert refused.status != 0
    assert "check tamma_stack_postgres_user and tamma_stack_postgres_password" in refused.output
    assert "vhost missing not found" in refused.output
    assert "wrong-one" not in refused.output
    assert (compose(host, "ps", "--quiet"), env(host)) == before
