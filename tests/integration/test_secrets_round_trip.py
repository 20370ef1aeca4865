# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets on their whole way: written to .env, read by the real Compose, and used for real logins."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, find_compose, parse_project
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, write
from ansible_collections.meywd.tamma.plugins.module_utils.formats import (
    first_rabbitmq_password,
    parse_dotenv,
    render_dotenv,
    render_rabbitmq_config,
)
from ansible_collections.meywd.tamma.plugins.module_utils.planner import ALONE_LABEL, start_order
from ansible_collections.meywd.tamma.plugins.module_utils.release import SERVICE_ENVIRONMENT, environment, wanted_files
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import Service, mebibytes, services
from ansible_collections.meywd.tamma.plugins.plugin_utils.settings import service_overlay
from tests.bench import engine, images
from tests.bench.command import docker, run
from tests.bench.names import LABEL
from tests.bench.patience import wait_until
from tests.integration.rendering import NASTY, TEXTS, password_in, release, secret
from tests.unit.test_compose_files import CASES, VALUES

CONNECTION = "ConnectionStrings__DefaultConnection"
OVERLAYS = ("docker-compose.dev.yml", "docker-compose.dashboard.yml")

# Each example runs Compose, on files that the next one overwrites.
few = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="session")
def program() -> str:
    """The real Compose of the bench's engine."""
    engine.ensure()
    found = find_compose()
    assert found is not None
    return found


def config(program: str, directory: Path) -> dict[str, Any]:
    """What Compose understands in a directory."""
    shown = Compose(Runner(), program, str(directory), "tamma").run("config", "--format", "json", timeout=60)
    assert shown.rc == 0, shown.err
    understood: dict[str, Any] = json.loads(shown.out)
    return understood


def variables(understood: dict[str, Any], service: str) -> dict[str, str]:
    """A service's environment; `config` doubles each dollar sign, so that its output is a Compose file again."""
    found = understood["services"][service]["environment"]
    return {name: (value or "").replace("$$", "$") for name, value in found.items()}


def write_reader(directory: Path, expressions: dict[str, str], dotenv: str) -> None:
    """A Compose file with one service, whose environment is made of *expressions*."""
    document = {"services": {"reader": {"image": "none", "environment": expressions}}}
    (directory / "docker-compose.yml").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    (directory / ".env").write_text(dotenv, encoding="utf-8")


# -- through Compose ------------------------------------------------------------------------


@few
@given(st.lists(secret, min_size=1, max_size=30))
def test_compose_reads_back_any_printable_secret(tmp_path: Path, program: str, values: list[str]) -> None:
    written = {"S%d" % number: value for number, value in enumerate([*values, *NASTY])}
    write_reader(tmp_path, {name: "${%s:-unset}" % name for name in written}, render_dotenv([("Secrets", written)]))
    assert variables(config(program, tmp_path), "reader") == written


def read_through_the_stack(program: str, directory: Path, postgres: str, rabbitmq: str) -> dict[str, Any]:
    """Deploy two passwords, as the operator does for a bare host, and let Compose read the stack's real files."""
    wanted = release(directory, {"POSTGRES_PASSWORD": postgres, "RABBITMQ_PASSWORD": rabbitmq}, *OVERLAYS)
    write(str(directory), wanted_files(wanted, environment(wanted, known={})))
    return config(program, directory)


@few
@given(secret, secret)
def test_every_service_of_the_stack_gets_the_secret(tmp_path: Path, program: str, postgres: str, rabbitmq: str) -> None:
    understood = read_through_the_stack(program, tmp_path, postgres, rabbitmq)
    assert variables(understood, "postgres")["POSTGRES_PASSWORD"] == postgres
    assert password_in(CONNECTION, variables(understood, "tamma-api-dotnet")[CONNECTION]) == postgres
    assert variables(understood, "rabbitmq")["RABBITMQ_DEFAULT_PASS"] == first_rabbitmq_password(rabbitmq)


@few
@given(st.lists(secret, min_size=1, max_size=10))
def test_a_service_gets_its_own_variables_as_they_are(tmp_path: Path, program: str, values: list[str]) -> None:
    given = {"V%d" % number: value for number, value in enumerate([*values, *NASTY])}
    wanted = release(tmp_path, {"GITHUB_TOKEN": "x"}, files=True)
    overlay = service_overlay({"tamma-engine": given})
    added = wanted._replace(
        files=[*wanted.files, File(SERVICE_ENVIRONMENT, overlay, 0o600, secret=True)],
        compose_files=[*wanted.compose_files, SERVICE_ENVIRONMENT],
    )
    env = {**environment(added, known={}), "COMPOSE_FILE": ":".join(added.compose_files)}
    write(str(tmp_path), wanted_files(added, env))
    told = variables(config(program, tmp_path), "tamma-engine")
    assert {name: told.get(name) for name in given} == given
    assert "GITHUB_TOKEN" not in told


HANDWRITTEN = r"""
# A comment
PLAIN=value
SPACES  =  around
export EXPORTED=yes
COMMENT=value # cut off
HASH=value#kept
EMPTY=
SINGLE='a "b" $c #d'
DOUBLE="a 'b' #d" # comment
ESCAPED="\$HOME \"x\" \\"
DOLLARS="$$HOME"
EQUALS=a=b==
"""


def test_a_file_that_somebody_wrote_by_hand_is_read_as_compose_reads_it(tmp_path: Path, program: str) -> None:
    ours = parse_dotenv(HANDWRITTEN)
    assert len(ours) == 11
    write_reader(tmp_path, {name: "${%s}" % name for name in ours}, HANDWRITTEN)
    assert ours == variables(config(program, tmp_path), "reader")


def test_the_controller_expands_variables_as_compose_does(tmp_path: Path, program: str) -> None:
    expected = {"E%d" % number: value for number, (_text, value) in enumerate(CASES)}
    expressions = {"E%d" % number: text for number, (text, _value) in enumerate(CASES)}
    write_reader(tmp_path, expressions, render_dotenv([("Values", VALUES)]))
    assert variables(config(program, tmp_path), "reader") == expected


@pytest.mark.parametrize(
    "overlays", [["dev", "dashboard"], ["secrets", "production", "dashboard", "edge"], ["lite", "podman"]]
)
@pytest.mark.parametrize(
    "given_settings",
    [
        {},
        {
            "TAMMA_REGISTRY": "registry.bench:5000",
            "TAMMA_VERSION": "0.2.0",
            "API_IMAGE": "own/api@sha256:" + "0" * 64,
            "ELSA_REPLICAS": "3",
            "EDGE_BIND_ADDRESS": "::1",
            "DASHBOARD_PORT": "8080",
        },
    ],
)
def test_the_controller_reads_the_stack_as_compose_does(
    tmp_path: Path, program: str, given_settings: dict[str, str], overlays: list[str]
) -> None:
    names = ["docker-compose.yml", *(f"docker-compose.{overlay}.yml" for overlay in overlays)]
    for name in names:
        (tmp_path / name).write_text(TEXTS[name], encoding="utf-8")
    used = {**given_settings, "COMPOSE_FILE": ":".join(names)}
    (tmp_path / ".env").write_text(render_dotenv([("Settings", used)]), encoding="utf-8")
    shown = config(program, tmp_path)
    project = parse_project(shown, {})

    def as_compose_has_it(name: str) -> Service:
        item = project.services[name]
        resources = shown["services"][name].get("deploy", {}).get("resources", {})
        limits, reservations = resources.get("limits", {}), resources.get("reservations", {})
        return Service(
            name,
            item.image,
            item.replicas,
            float(limits.get("cpus", 0)),
            mebibytes(str(limits.get("memory", ""))),
            mebibytes(str(reservations.get("memory", ""))),
            tuple((port.address, port.published) for port in item.ports if port.protocol == "tcp"),
            item.labels.get(ALONE_LABEL, ""),
        )

    ours = services([TEXTS[name] for name in names], given_settings)
    assert ours == [as_compose_has_it(name) for name in start_order(project)]


# -- real logins ----------------------------------------------------------------------------


class Servers(NamedTuple):
    """Running servers; first: what Compose read for them when they first started."""

    postgres: str
    rabbitmq: str
    management: str
    first: dict[str, Any]


FIRST_POSTGRES = "first 'p\"ass\\' $HOME #1;ü"
FIRST_RABBITMQ = "first 'p\"ass\\' $HOME #1;ü€"


@pytest.fixture(scope="session")
def servers(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The bench's PostgreSQL and RabbitMQ, first started with the environment that Compose would give them."""
    images.build(["postgres", "rabbitmq"])
    understood = read_through_the_stack(program, tmp_path_factory.mktemp("first"), FIRST_POSTGRES, FIRST_RABBITMQ)
    started: dict[str, str] = {}
    try:
        for name, options in {"postgres": [], "rabbitmq": ["--publish", "127.0.0.1::15672"]}.items():
            values = [word for pair in variables(understood, name).items() for word in ("--env", "%s=%s" % pair)]
            command = ["run", "--detach", "--label", LABEL + "=test", "--hostname", name, *options, *values]
            started[name] = docker(*command, images.tag(name))
        address = "http://" + docker("port", started["rabbitmq"], "15672/tcp").splitlines()[0]
        let_in(lambda: psql_works(started["postgres"], FIRST_POSTGRES), started["postgres"])
        let_in(lambda: logged_in(address, FIRST_RABBITMQ), started["rabbitmq"])
        yield Servers(started["postgres"], started["rabbitmq"], address, understood)
    finally:
        for identifier in started.values():
            docker("rm", "--force", "--volumes", identifier, check=False)


def let_in(condition: Callable[[], bool], container: str) -> None:
    wait_until(condition, 60, "a server to let us in", lambda: docker("logs", "--tail", "20", container))


def psql_works(container: str, password: str) -> bool:
    """Log in over TCP from another address than the loopback one, which asks for no password."""
    command = ["exec", "--env", "PGPASSWORD=" + password, container, "psql", "-h", "postgres", "-U", "tamma"]
    return run(["docker", *command, "-Atqc", "SELECT 7", "tamma"], check=False).stdout == "7\n"


def logged_in(address: str, password: str) -> bool:
    """Ask RabbitMQ's management interface who we are."""
    request = urllib.request.Request(address + "/api/whoami")
    credentials = base64.b64encode(("tamma:" + password).encode())
    request.add_header("Authorization", "Basic " + credentials.decode())
    with suppress(OSError), urllib.request.urlopen(request, timeout=5) as response:
        return bool(json.load(response)["name"] == "tamma")
    return False


def test_the_servers_take_the_password_of_their_first_start(servers: Servers) -> None:
    """The fixture logged in; this makes sure that a wrong password would not have sufficed."""
    assert not psql_works(servers.postgres, FIRST_POSTGRES + "x")
    assert not logged_in(servers.management, FIRST_RABBITMQ + "x")
    assert psql_works(servers.postgres, FIRST_POSTGRES)


@pytest.mark.parametrize("password", NASTY)
def test_a_password_opens_what_it_was_set_on(servers: Servers, tmp_path: Path, program: str, password: str) -> None:
    docker(
        *("exec", "--interactive", servers.postgres, "psql", "-qU", "tamma", "--set", "password=" + password),
        data=b"ALTER ROLE tamma PASSWORD :'password';",
    )
    docker(
        "exec",
        "--interactive",
        servers.rabbitmq,
        "rabbitmqctl",
        "-q",
        "change_password",
        "tamma",
        data=password.encode(),
    )
    understood = read_through_the_stack(program, tmp_path, password, password)
    assert psql_works(servers.postgres, password_in(CONNECTION, variables(understood, "tamma-api-dotnet")[CONNECTION]))
    assert logged_in(servers.management, password)


# Reads one term after the other, as RabbitMQ reads its configuration, and writes the bytes of each password.
CONSULT = """
Read = fun(Read) -> case io:read("") of
    {ok, [{rabbit, [{default_pass, Password}]}]} -> io:format("~w~n", [binary_to_list(Password)]), Read(Read);
    eof -> halt()
end end, Read(Read).
"""


@settings(few, max_examples=5)
@given(st.lists(secret, min_size=50, max_size=50))
def test_erlang_reads_the_password_from_a_secret_file(servers: Servers, values: list[str]) -> None:
    files = [render_rabbitmq_config({"": first_rabbitmq_password(value)}) for value in [*values, *NASTY]]
    erl = ("exec", "--interactive", servers.rabbitmq, "erl", "-noshell", "-eval", CONSULT)
    read = docker(*erl, data="".join(files).encode()).splitlines()
    assert [bytes(json.loads(line)).decode() for line in read] == [*values, *NASTY]
