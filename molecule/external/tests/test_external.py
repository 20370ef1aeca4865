"""A stack whose database and broker are on another host: who talks to them, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import testinfra
import yaml
from testinfra.host import Host

from tests.bench.patience import wait_until
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
        "Tamma.Api|t",
        "Tamma.ElsaServer|t",
        "tamma-api|t",
    ]
    listed = servers.check_output("rabbitmqctl --quiet --no-table-headers list_connections ssl vhost user")
    assert listed.split("\t") == ["true", LOGIN["vhost"], LOGIN["role"]]


def test_nothing_of_the_containers_was_made(host: Host) -> None:
    made = host.check_output("docker volume ls --quiet --filter label=com.docker.compose.project=tamma").split()
    assert sorted(made) == ["tamma_tamma-elsa-storage", "tamma_tamma-engine-workdir"]
    images = host.check_output("docker image ls")
    assert "postgres" not in images
    assert "rabbitmq" not in images


def test_the_init_sql_ran_as_the_stacks_role(servers: Host) -> None:
    owner = "SELECT DISTINCT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname IN ('elsa', 'tamma')"
    assert psql(servers, owner) == LOGIN["role"]
    assert psql(servers, "SELECT count(*) FROM pg_extension WHERE extname = 'uuid-ossp'") == "1"


def test_what_is_written_is_in_the_database(host: Host, servers: Host) -> None:
    # And still there when the stack is gone: see cleanup.yml.
    get(host, SESSIONS, "--json", json.dumps({"title": "written through the stack"}))
    assert psql(servers, "SELECT title FROM tamma.mentorship_sessions") == "written through the stack"


def test_a_workflow_goes_through_the_broker(host: Host) -> None:
    get(host, f"{ELSA}/workflow-definitions/issue-triage/dispatch", "--request", "POST")
    wait_until(lambda: json.loads(get(host, f"{ELSA}/workflow-instances"))["totalCount"] == 1, 30, "a workflow")


def test_a_refusal_tells_every_problem_and_changes_nothing(host: Host) -> None:
    before = compose(host, "ps", "--quiet"), env(host)
    refused = site({"tamma_stack_postgres_password": "wrong-one", "tamma_stack_rabbitmq_vhost": "missing"})
    assert refused.status != 0
    assert "check tamma_stack_postgres_user and tamma_stack_postgres_password" in refused.output
    assert "vhost missing not found" in refused.output
    assert "wrong-one" not in refused.output
    assert (compose(host, "ps", "--quiet"), env(host)) == before
