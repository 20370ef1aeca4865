# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy does to a running stack, and what it leaves alone."""

from __future__ import annotations

import json
import re

import yaml

from tests.integration.conftest import HOST, SANDBOX, Stack
from tests.tools.outcome import Outcome
from tests.tools.roles import ROOT
from tests.tools.run import run

ENGINE_CONFIG = {"engine": {"pollIntervalMs": 60000}}


def sandbox_settings() -> dict[str, str]:
    """What the sandbox's inventory puts into tamma_stack_environment, with its registry named."""
    text = (ROOT / "inventories" / "sandbox" / "group_vars" / "tamma" / "main.yml").read_text(encoding="utf-8")
    settings: dict[str, str] = yaml.safe_load(text)["tamma_stack_environment"]
    return {name: value.replace("{{ __sandbox_registry }}", "registry.bench:5000") for name, value in settings.items()}


def remote_tasks(outcome: Outcome) -> int:
    """How many tasks ran a module on the host: each one sends its own payload."""
    return len(re.findall(r"^Using module file ", outcome.output, re.MULTILINE))


def well(stack: Stack) -> bool:
    """Whether the status playbook says that all is well."""
    return stack.play("status").status == 0


def test_the_first_deploy_shows_progress_and_a_table(stack: Stack) -> None:
    first = stack.first
    assert first
    assert re.search(r"tamma1 \|\s+\d+\.\d s  apply   tamma-engine: ready", first.output)
    assert re.search(r"tamma1 +tamma-dashboard +\S+/tamma-dashboard:0.2.0 +running +healthy", first.output)


def test_a_second_run_changes_nothing_in_few_visits(untouched: Stack) -> None:
    outcome = untouched.play("site")
    assert outcome.status == 0
    assert outcome.unchanged
    # The preflight, the deploy, and the settings of the backups.
    assert remote_tasks(outcome) == 3


def test_what_changes_is_recreated_and_what_is_no_longer_wanted_removed(stack: Stack) -> None:
    before = stack.containers()
    image = "registry.bench:5000/tamma-dashboard:0.2.0"
    extra = {"services": {"extra": {"image": image, "command": ["sleep", "600"], "healthcheck": {"disable": True}}}}
    outcome = stack.play("site", variables={"tamma_stack_engine_config": ENGINE_CONFIG, "tamma_stack_overrides": extra})
    assert outcome.status == 0, outcome.output
    after = stack.containers()
    assert {service for service in after if before.get(service) != after[service]} == {
        "tamma-api",
        "tamma-engine",
        "extra",
    }
    assert stack.shell("stat -c '%a %u' /opt/tamma/engine/tamma.config.json").strip() == "600 1001"
    assert "60000" in stack.shell("cd /opt/tamma && docker compose exec -T tamma-engine cat /app/tamma.config.json")

    assert stack.play("site").status == 0
    assert set(stack.containers()) == set(before)
    for gone in ("engine", "docker-compose.override.yml"):
        assert stack.shell(f"test -e /opt/tamma/{gone} || echo gone").strip() == "gone"
    assert stack.play("site").unchanged


def test_a_stopped_container_is_seen_and_started_again(stack: Stack) -> None:
    stack.shell("cd /opt/tamma && docker compose stop tamma-api")
    assert stack.play("site", "--check").status == 0
    outcome = stack.play("status")
    assert outcome.status != 0
    assert "tamma-api is exited" in outcome.output
    assert stack.play("site").status == 0
    assert well(stack)


def test_two_runs_at_once(untouched: Stack) -> None:
    untouched.shell(
        "nohup python3 -c 'import fcntl, json, os, time\n"
        'file = open("/run/tamma/tamma.lock", "w")\n'
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        'json.dump({"operation": "deploy", "pid": os.getpid(), "since": int(time.time())}, file)\n'
        'file.flush()\nopen("/root/locked", "w").close()\ntime.sleep(600)\' >/dev/null 2>&1 & echo $! > /root/holder'
    )
    try:
        untouched.shell("until test -e /root/locked; do :; done")
        outcome = untouched.play("site")
        assert outcome.status != 0
        assert re.search(r"This stack is being worked on by a deploy \(process \d+, since", outcome.output)
    finally:
        untouched.shell("kill $(cat /root/holder); rm /root/locked")


def test_teardown_keeps_the_data_and_asks_for_the_name(stack: Stack) -> None:
    sql = "cd /opt/tamma && docker compose exec -T postgres psql -U tamma -d tamma -Atc"
    stack.shell(f"{sql} \"CREATE TABLE kept AS SELECT 'still here' AS word\"")

    refused = stack.play("teardown", variables={"tamma_stack_remove_volumes": "tama"})
    assert refused.status != 0
    assert "The volumes of which stack?" in refused.output
    assert stack.play("teardown", "--check").status == 0
    assert well(stack)

    assert stack.play("teardown").status == 0
    assert stack.containers() == {}
    assert stack.play("teardown").unchanged
    # Data of a PostgreSQL that this image is not.
    mark = "/var/lib/docker/volumes/tamma_tamma-pg-data/_data/PG_VERSION"
    stack.shell(f"echo 16 > {mark}")
    refused = stack.play("site")
    assert refused.status != 0
    assert "The volume tamma_tamma-pg-data holds the data of PostgreSQL 16, which PostgreSQL 15" in refused.output
    assert stack.containers() == {}
    stack.shell(f"echo 15 > {mark}")
    assert stack.play("site").status == 0
    assert stack.shell(f'{sql} "SELECT word FROM kept"').strip() == "still here"
    stack.shell(f'{sql} "DROP TABLE kept"')


def test_the_compose_file_alone(stack: Stack) -> None:
    """Somebody who only downloads docker-compose.yml and .env.example gets the whole stack."""
    settings = [
        "COMPOSE_PROJECT_NAME=alone",
        *(f"{name}=x" for name in ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "GITHUB_OWNER", "GITHUB_REPO")),
        *("TAMMA_REGISTRY=registry.bench:5000", "TAMMA_VERSION=0.2.0"),
        *("POSTGRES_IMAGE=registry.bench:5000/postgres:15", "RABBITMQ_IMAGE=registry.bench:5000/rabbitmq:3"),
    ]
    stack.shell("mkdir /root/alone && cd /opt/tamma && cp docker-compose.yml /root/alone")
    stack.shell("cp /opt/tamma/.env.example /root/alone/.env")
    stack.shell("printf '%%s\\n' %s >> /root/alone/.env" % " ".join(settings))
    try:
        stack.shell("cd /root/alone && docker compose up --detach --wait --wait-timeout 180")
        listed = stack.shell("cd /root/alone && docker compose ps --format json").splitlines()
        assert sorted(json.loads(line)["Health"] for line in listed) == ["healthy"] * 7
    finally:
        stack.shell("cd /root/alone && docker compose down --volumes && rm -r /root/alone")


def test_a_moved_tag_is_deployed_at_once(stack: Stack) -> None:
    """pull: always asks the registry again, and one run does both: pull and replace."""
    moving = {"tamma_stack_environment": {**sandbox_settings(), "API_IMAGE": "registry.bench:5000/tamma-api:moving"}}
    at_registry = ["docker", "exec", f"tamma-bench-{SANDBOX}-{HOST}", "docker"]

    def move(version: str) -> None:
        source = f"registry.bench:5000/tamma-api:{version}"
        run([*at_registry, "pull", "--quiet", source])
        run([*at_registry, "tag", source, "registry.bench:5000/tamma-api:moving"])
        run([*at_registry, "push", "--quiet", "registry.bench:5000/tamma-api:moving"])
        run([*at_registry, "rmi", "registry.bench:5000/tamma-api:moving"])

    move("0.1.0")
    assert stack.play("site", variables=moving).status == 0
    move("0.2.0")
    before = stack.containers()
    outcome = stack.play("site", variables={**moving, "tamma_stack_pull": "always"})
    assert outcome.status == 0
    after = stack.containers()
    assert {name for name in after if after[name] != before[name]} == {"tamma-api"}
    assert stack.play("site", variables={**moving, "tamma_stack_pull": "always"}).unchanged
    assert stack.play("site").status == 0


def test_an_engine_that_does_not_answer_is_not_an_empty_host(stack: Stack) -> None:
    stack.shell("systemctl stop docker.socket docker.service")
    try:
        for playbook, variables in (("status", {}), ("teardown", {"tamma_stack_remove_volumes": "tamma"})):
            outcome = stack.play(playbook, variables=variables)
            assert outcome.status != 0
            assert "The container engine does not answer on" in outcome.output
        assert "POSTGRES_PASSWORD=" in stack.shell("cat /opt/tamma/.env")
    finally:
        stack.shell("systemctl start docker.socket docker.service")
    assert stack.play("site").status == 0
    assert well(stack)
