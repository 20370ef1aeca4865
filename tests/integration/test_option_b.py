# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two downloaded files and Docker Compose: the README's own commands, on a host that has Docker and nothing else."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.bench.names import REGISTRY_ADDRESS
from tests.integration.conftest import Host
from tests.integration.test_deploy import sandbox_settings
from tests.tools.option_b import DIRECTORY as SOURCE
from tests.tools.roles import ROOT

DIRECTORY = "/home/somebody/option-b"
PUBLISHED = "https://raw.githubusercontent.com/meywd/tamma/main/"
#: Where the host has the repository.
DOWNLOADS = "/srv/downloads"
FOUR = ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "GITHUB_OWNER", "GITHUB_REPO")
SERVICES = {
    *("postgres", "rabbitmq", "elsa-server", "tamma-api-dotnet", "tamma-api", "tamma-engine", "tamma-dashboard"),
}
# What one would have from ghcr.io and Docker Hub.
IMAGES = {
    "TAMMA_REGISTRY": REGISTRY_ADDRESS,
    "TAMMA_VERSION": "0.2.0",
    **{name: value for name, value in sandbox_settings().items() if name.endswith("_IMAGE")},
}
WAIT = "docker compose up --detach --quiet-pull --wait --wait-timeout 120"
ADDRESSES = {
    "http://localhost:3001/": "<html",
    "http://localhost:3001/api/health": '"status": *"ok"',
    "http://localhost:3100/api/health": '"status": *"ok"',
    "http://localhost:3000/health": "Healthy",
    "http://localhost:5000/health": "Healthy",
    "http://localhost:15672/": "RabbitMQ",
}


def commands() -> str:
    """What the README says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(curl .*?)```", readme, re.DOTALL)
    assert PUBLISHED in block
    return str(block).replace(PUBLISHED, f"file://{DOWNLOADS}/")


@pytest.fixture
def host(docker_host: Host) -> Iterator[Host]:
    """The host with Docker, with what this repository publishes, and nothing of a stack afterwards."""
    docker_host.put(SOURCE, f"{DOWNLOADS}/docker")
    docker_host.shell(f"rm -rf {DIRECTORY}; mkdir -p {DIRECTORY}")
    yield docker_host
    # Whatever is missing: a project is known by its name.
    for kind, remove in (("ps --all", "rm --force"), ("volume ls", "volume rm"), ("network ls", "network rm")):
        left = f"docker {kind} --quiet --filter label=com.docker.compose.project=tamma"
        docker_host.shell(f"{left} | xargs --no-run-if-empty docker {remove}")


def inside(host: Host, script: str, **environment: str) -> str:
    exported = " ".join(f"export {name}={shlex.quote(value)};" for name, value in {**IMAGES, **environment}.items())
    return host.shell(f"cd {DIRECTORY}; {exported} {{ {script}\n}} 2>&1")


def health(host: Host) -> dict[str, str]:
    listed = inside(host, "docker compose ps --all --format json").splitlines()
    return {item["Service"]: item["Health"] for item in map(json.loads, listed)}


# What somebody does in an editor.
EDITOR = f"""#!/bin/sh
exec sed -i -E 's/^({"|".join(FOUR)})=$/\\1=x-\\1/' "$1"
"""
#: What production needs beside; the password for the edge is bench-password.
PRODUCTION = """
POSTGRES_PASSWORD=a1
RABBITMQ_PASSWORD=b2
ELSA_SIGNING_KEY=c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3
TAMMA_JWT_SECRET=d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4
EDGE_DOMAIN=tamma.test
EDGE_PASSWORD_HASH='$2b$04$N9qo8uLOickgx2ZMRZoMyeiUxC3tRtysB36CEPui3xA.gtoj1qKfi'
EDGE_TLS=internal
"""
COUNT = "docker compose exec -T postgres psql -U tamma -tA -c 'SELECT count(*) FROM junior_developers'"


def test_the_commands_of_the_readme_and_everything_of_the_seed(host: Host) -> None:
    host.shell(f"cat > {DOWNLOADS}/editor <<'end'\n{EDITOR}end\nchmod +x {DOWNLOADS}/editor")
    inside(host, f"set -e\n{commands()}", EDITOR=f"{DOWNLOADS}/editor")
    assert host.shell(f"cd {DIRECTORY}; ls -A; stat --format %a .env").split() == [".env", "docker-compose.yml", "600"]
    inside(host, WAIT)
    assert health(host) == dict.fromkeys(SERVICES, "healthy")
    for address, expected in ADDRESSES.items():
        assert re.search(
            expected, host.shell(f"curl --fail --silent --retry 30 --retry-delay 1 --retry-all-errors {address}")
        ), address
    for port in (5432, 5672):
        host.shell(f"bash -c '</dev/tcp/127.0.0.1/{port}'")
    listening = host.shell("ss --listening --tcp --numeric --no-header --processes | grep docker-proxy").splitlines()
    assert {line.split()[3].rpartition(":")[0] for line in listening} == {"127.0.0.1"}
    rotation = host.shell("docker inspect --format '{{json .HostConfig.LogConfig}}' $(docker ps --quiet)").splitlines()
    assert set(rotation) == {'{"Type":"json-file","Config":{"max-file":"5","max-size":"10m"}}'}

    inside(
        host, "docker compose exec -T postgres psql -U tamma -c \"INSERT INTO junior_developers VALUES ('1', 'one')\""
    )
    inside(host, f"docker compose down && {WAIT}")
    assert inside(host, COUNT).strip() == "1"
    # A changed value is picked up, by the services that have it alone.
    without = "docker compose ps --quiet postgres rabbitmq elsa-server tamma-api-dotnet"
    before = inside(host, without)
    inside(host, f"sed -i 's/^GITHUB_OWNER=.*/GITHUB_OWNER=another/' .env && {WAIT}")
    assert inside(host, without) == before
    assert "TAMMA_GITHUB_OWNER=another" in inside(host, "docker compose exec -T tamma-engine env")


def test_what_is_missing_is_named_and_nothing_starts(host: Host) -> None:
    inside(host, f"cp {DOWNLOADS}/docker/docker-compose.yml . && cp {DOWNLOADS}/docker/.env.example .env")
    for name in FOUR:
        filled = inside(
            host, f"sed -i -E 's/^({'|'.join(FOUR)})=.*/\\1=x/; s/^{name}=x/{name}=/' .env; docker compose up -d; :"
        )
        assert f"required variable {name} is missing a value: set it in .env to" in filled
    assert host.shell("docker ps --all --quiet") == ""


def test_production_answers_behind_its_edge_alone(host: Host) -> None:
    inside(host, f"cp {DOWNLOADS}/docker/docker-compose.production.yml docker-compose.yml")
    host.shell(f"cat > {DIRECTORY}/.env <<'end'\n{''.join(f'{name}=x' + chr(10) for name in FOUR)}end")
    refused = inside(host, "docker compose up -d; :")
    assert re.search(r"required variable \w+ is missing a value: set it in .env to ", refused)
    host.shell(f"cat >> {DIRECTORY}/.env <<'end'{PRODUCTION}end")
    inside(host, WAIT)
    assert health(host) == dict.fromkeys([*SERVICES, "edge"], "healthy")
    curl = "curl --silent --insecure --resolve tamma.test:443:127.0.0.1 --output /dev/null --write-out '%{http_code} '"
    login = "--user tamma:bench-password"
    asked = (
        "",
        f"{login} -L",
        *(f"{login} -o /dev/null https://tamma.test{path}" for path in ("/api/health", "/elsa-api/health")),
    )
    answers = [host.shell(f"{curl} {options} https://tamma.test/") for options in asked]
    assert [answer.split() for answer in answers] == [["401"], ["200"], ["200", "200"], ["200", "200"]]
    published = host.shell("docker ps --format '{{.Label \"com.docker.compose.service\"}} {{.Ports}}' | grep -e '->'")
    assert {line.split()[0] for line in published.splitlines()} == {"edge"}


# -- what a workflow does -------------------------------------------------------------------


@pytest.fixture
def smoke(host: Host) -> str:
    """The command, on the host."""
    host.put(ROOT / "roles/tamma_images/files/workflows", "/srv/workflows")
    return f"rm -rf /srv/logs; /srv/workflows/smoke.sh {DOWNLOADS}/docker /srv/logs"


def left(host: Host) -> str:
    """What is there of its stack: containers, volumes and networks."""
    kinds = ("ps --all", "volume ls", "network ls")
    return "".join(host.shell(f"docker {kind} --quiet --filter name=tamma-smoke") for kind in kinds)


def test_the_smoke_test_sees_seven_services_and_leaves_nothing(host: Host, smoke: str) -> None:
    lines = [line for line in inside(host, smoke).splitlines() if line.startswith("smoke: ")]
    assert lines == [
        "smoke: seven services are healthy",
        *(f"smoke: {address} answers" for address in ADDRESSES),
        "smoke: tamma-engine has a log",
        "smoke: the database keeps its data",
        "smoke: a changed .env is picked up",
    ]
    assert left(host) == ""
    assert host.shell("ls /srv/logs 2>&1 || :").startswith("ls: cannot access")


def test_the_smoke_test_of_a_bad_release_fails_and_keeps_the_logs(host: Host, smoke: str) -> None:
    # Found out sooner than after two minutes.
    sooner = "sed -i -e 's/interval: 15s/interval: 2s/' -e 's/start_period: 60s/start_period: 10s/'"
    inside(host, f"{sooner} {DOWNLOADS}/docker/docker-compose.yml")
    told = inside(host, f"{smoke}; echo status $?", TAMMA_VERSION="0.2.1-unhealthy", SMOKE_SECONDS="60")
    assert told.endswith("smoke: not every service became healthy.\nstatus 1\n"), told
    assert set(host.shell("ls /srv/logs").split()) == {"containers.txt", *(f"{name}.log" for name in SERVICES)}
    assert "tamma-api" in host.shell("cat /srv/logs/containers.txt")
    assert host.shell("test -s /srv/logs/tamma-api.log && echo filled") == "filled\n"
    assert left(host) == ""
