# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets as containers find them, as variables and as files, on Docker and on Podman."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Deployment
from ansible_collections.meywd.tamma.plugins.module_utils.engine import DOCKER_SOCKET, PODMAN_SOCKET, Engine
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, write
from ansible_collections.meywd.tamma.plugins.module_utils.formats import render_dotenv
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release, environment
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from ansible_collections.meywd.tamma.plugins.module_utils.secret_files import TABLE
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import parse
from tests.bench import engine as bench_engine
from tests.bench.names import REGISTRY_ADDRESS
from tests.bench.patience import wait_until
from tests.integration.conftest import Host
from tests.integration.rendering import NASTY, SECRETS, TEXTS, password_in, release, secret
from tests.unit.readers import read_secret_file

DIRECTORY = "/root/reader"

# What a container finds: its variables, and each file by what its owner reads there. Somebody else must not.
READER = """
import base64, json, os, subprocess
def read(path, user):
    return subprocess.run(["cat", path], user=user, group=65534, extra_groups=[], capture_output=True)
files = {}
for directory, _, names in os.walk("/secrets"):
    for path in (os.path.join(directory, name) for name in names):
        owner = os.stat(path).st_uid
        assert read(path, 12345).returncode != 0, "anybody can read " + path
        files[path] = [owner, base64.b64encode(read(path, owner).stdout).decode()]
values = {name.decode(): base64.b64encode(value).decode() for name, value in os.environb.items()}
print(json.dumps({"files": files, "values": values}))
"""


class On(NamedTuple):
    """An engine on a host, as Compose is told of it."""

    host: Host
    socket: str

    def compose(self, directory: str, command: str) -> str:
        return self.host.shell(f"cd {directory} && DOCKER_HOST=unix://{self.socket} docker compose {command}")


@pytest.fixture(scope="module", params=["docker", "podman"])
def on(request: pytest.FixtureRequest) -> On:
    """Each of the two engines."""
    socket = {"docker": DOCKER_SOCKET, "podman": PODMAN_SOCKET}[request.param]
    host: Host = request.getfixturevalue(f"{request.param}_host")
    return On(host, socket)


def rendered(wanted: Release) -> list[File]:
    """The files of a stack, from the plan that a deploy on this machine would carry out."""
    bench_engine.ensure()
    program = find_compose()
    assert program is not None
    return Deployment(wanted, Runner(), Engine(), program, lambda _phase, _what: None).plan().files


def reader(directory: Path, examples: list[dict[str, str]]) -> None:
    """A Compose project with one service, which has every secret of every example in each form of the stack."""
    services = parse(TEXTS["docker-compose.yml"])["services"]
    values: dict[str, str] = {}
    expressions: dict[str, str] = {}
    mounted: dict[str, str] = {}
    for number, secrets in enumerate(examples):
        spelled = environment(release(directory, secrets))
        values.update(("E%d_%s" % (number, name), value) for name, value in spelled.items())
        for place in TABLE:
            expression = services[place.service]["environment"][place.variable]
            expressions[f"{number}/{place.service}/{place.variable}"] = re.sub(
                r"\$\{([A-Z_]+)", r"${E%d_\1" % number, expression
            )
            mounted[f"{number}-{place.service}-{place.file}"] = f"./{number}/{place.path}"
        wanted = release(directory / str(number), secrets, files=True)
        write(wanted.directory, rendered(wanted))
    document = {
        "services": {
            "reader": {
                "image": f"{REGISTRY_ADDRESS}/tamma-api:0.2.0",
                "user": "0",
                "entrypoint": ["python3", "-c", READER],
                "environment": expressions,
                "secrets": [{"source": name, "target": f"/secrets/{name}"} for name in mounted],
            }
        },
        "secrets": {name: {"file": path} for name, path in mounted.items()},
    }
    (directory / "docker-compose.yml").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    (directory / ".env").write_text(render_dotenv([("Examples", values)]), encoding="utf-8")


OWNERS = {"postgres": 70, "rabbitmq": 100, "elsa-server": 999, "tamma-api-dotnet": 999}


# Each batch renders stacks and runs a container; a smaller one would not be quicker.
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.lists(secret, min_size=21, max_size=21))
@example(values=[*NASTY, *NASTY[:2]])
def test_a_container_finds_every_secret(on: On, tmp_path: Path, values: list[str]) -> None:
    examples = [
        dict(zip(SECRETS, values[start : start + len(SECRETS)], strict=True))
        for start in range(0, len(values), len(SECRETS))
    ]
    reader(tmp_path, examples)
    on.host.put(tmp_path, DIRECTORY)
    found = json.loads(on.compose(DIRECTORY, "run --rm --no-TTY --quiet-pull reader").splitlines()[-1])
    for number, secrets in enumerate(examples):
        for place in TABLE:
            variable = base64.b64decode(found["values"][f"{number}/{place.service}/{place.variable}"]).decode()
            assert password_in(place.variable, variable) == secrets[place.secret], place
            owner, content = found["files"][f"/secrets/{number}-{place.service}-{place.file}"]
            assert read_secret_file(place.file, place.variable, base64.b64decode(content).decode()) == variable, place
            assert owner == OWNERS.get(place.service, 1001)


# -- first starts ---------------------------------------------------------------------------

FIRST_POSTGRES = "first 'p\"ass\\\\' $HOME ${x} #1;ü"
FIRST_RABBITMQ = "first 'p\"ass\\\\' $HOME ${x} #1;ü€𝄞"
STACK = "/root/first"


@pytest.fixture(scope="module")
def first_start(on: On, tmp_path_factory: pytest.TempPathFactory) -> Iterator[On]:
    """PostgreSQL and RabbitMQ, started for the first time from secret files, as somebody would by hand."""
    secrets = {"POSTGRES_PASSWORD": FIRST_POSTGRES, "RABBITMQ_PASSWORD": FIRST_RABBITMQ}
    images = {f"{name.upper()}_IMAGE": f"{REGISTRY_ADDRESS}/{name}:{tag}" for name, tag in SERVERS.items()}
    overlays = ["docker-compose.podman.yml"] if on.socket == PODMAN_SOCKET else []
    directory = tmp_path_factory.mktemp("first")
    write(str(directory), rendered(release(directory, secrets, *overlays, files=True, settings=images)))
    on.host.put(directory, STACK)
    on.compose(STACK, "up --detach --quiet-pull " + " ".join(SERVERS))
    yield on
    on.compose(STACK, "down --volumes --timeout 0")


SERVERS = {"postgres": "15", "rabbitmq": "3"}


def postgres_lets_in(on: On, password: str) -> bool:
    """Log in over TCP from another address than the loopback one, which asks for no password."""
    given = shlex.quote("PGPASSWORD=" + password)
    psql = f"exec --no-TTY --env {given} postgres psql -h postgres -U tamma -Atqc 'SELECT 7' tamma 2>&1 || true"
    return on.compose(STACK, psql) == "7\n"


def rabbitmq_lets_in(on: On, password: str) -> bool:
    """Ask the management interface who we are."""
    login = base64.b64encode(f"tamma:{password}".encode()).decode()
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    inspect = f"DOCKER_HOST=unix://{on.socket} docker inspect --format '{form}' tamma-rabbitmq-1"
    address = on.host.shell(inspect).split()[0]
    url = f"http://{address}:15672/api/whoami"
    answer = on.host.shell(f"curl --silent --max-time 5 --header 'Authorization: Basic {login}' {url} || true")
    return '"name":"tamma"' in answer


def test_servers_take_the_password_of_their_first_start_from_a_file(first_start: On) -> None:
    wait_until(
        lambda: postgres_lets_in(first_start, FIRST_POSTGRES) and rabbitmq_lets_in(first_start, FIRST_RABBITMQ),
        60,
        "the servers to let us in",
        lambda: first_start.compose(STACK, "logs --tail 20"),
    )
    assert not postgres_lets_in(first_start, FIRST_POSTGRES + "x")
    assert not rabbitmq_lets_in(first_start, FIRST_RABBITMQ + "x")
