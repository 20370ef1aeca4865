# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack on a sandbox host, deployed once from an installed artifact, and playbooks run against it.

Every secret is a canary: each run's whole output (-vvv --diff) is searched for all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.bench import faults
from tests.bench.command import docker
from tests.bench.inventory import ALL_GROUP
from tests.bench.inventory import inventory as bench_inventory
from tests.bench.names import LABEL, NETWORK, REGISTRY_ADDRESS, REGISTRY_CONTAINER, REGISTRY_VOLUME
from tests.bench.patience import wait_until
from tests.tools.outcome import Outcome
from tests.tools.roles import ROOT
from tests.tools.run import follow, run

#: Each process of a run has a host of its own.
SANDBOX = "-".join(
    filter(None, (os.environ.get("TAMMA_SANDBOX", "integration"), os.environ.get("PYTEST_XDIST_WORKER")))
)
HOST = "tamma1"

CANARIES = {
    name: "canary-%s-%s" % (name.rsplit("_", 1)[-1], secrets.token_hex(12))
    for name in (
        "tamma_stack_github_token",
        "tamma_stack_anthropic_api_key",
        "tamma_stack_postgres_password",
        "tamma_stack_rabbitmq_password",
        "tamma_stack_jwt_secret",
        "tamma_stack_elsa_signing_key",
        "tamma_stack_elsa_api_key",
    )
}


class Host:
    """The one host of a sandbox, which we enter through the bench's engine."""

    def __init__(self, sandbox: str) -> None:
        self.sandbox = sandbox
        self.container = f"tamma-bench-{sandbox}-{HOST}"

    def shell(self, script: str) -> str:
        """Run a script on the host, as root, and return what it printed."""
        return run(["docker", "exec", self.container, "sh", "-c", script])

    def put(self, source: Path, target: str) -> None:
        """Copy what is in a directory of this machine, with its owners and modes, into a new one on the host."""
        self.shell(f"rm -rf {target} && mkdir -p {target}")
        run(["docker", "cp", "--archive", f"{source}/.", f"{self.container}:{target}"])


class Installed:
    """Ansible with an installed collection and no inventory, and the canaries as secrets."""

    inventory: tuple[str, ...] = ()
    sandbox = SANDBOX

    def __init__(self, directory: Path) -> None:
        # What no output may show; a test that gives the stack more secrets adds them.
        self.canaries = dict(CANARIES)
        self.directory = directory
        self._secrets = directory / "secrets.yml"
        self._secrets.write_text(yaml.safe_dump(CANARIES), encoding="utf-8")
        self._secrets.chmod(0o600)

    @property
    def env(self) -> dict[str, str]:
        """What a playbook has in its environment."""
        # Keys of whoever runs the tests are none of the stack's.
        inherited = {name: os.environ[name] for name in os.environ if not name.startswith(("GITHUB_", "ANTHROPIC_"))}
        return {
            **inherited,
            "TAMMA_SANDBOX": self.sandbox,
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
        }

    def play(self, playbook: str, *options: str, variables: dict[str, Any] | None = None) -> Outcome:
        """Run a playbook at -vvv --diff, and hunt the canaries in its output."""
        extra = self.directory / "variables.yml"
        extra.write_text(yaml.safe_dump(variables or {}), encoding="utf-8")
        return self._play(playbook, "-e", f"@{self._secrets}", "-e", f"@{extra}", *options)

    def _play(self, playbook: str, *options: str) -> Outcome:
        command = ["ansible-playbook", *self.inventory, f"meywd.tamma.{playbook}", "-vvv", "--diff", *options]
        outcome = follow(command, cwd=self.directory, env=self.env)
        for name, canary in self.canaries.items():
            assert canary not in outcome.output, f"{name} shows in the output of {playbook} {options}"
        return outcome


class Stack(Installed, Host):
    """The same, and the sandbox host that it deploys to."""

    inventory = ("-i", str(ROOT / "inventories" / "sandbox"))
    #: How the stack came that the tests share, if it is there.
    first: Outcome | None = None
    #: Whether something else is there, or was.
    touched = False

    def __init__(self, directory: Path, sandbox: str = SANDBOX) -> None:
        Installed.__init__(self, directory)
        Host.__init__(self, sandbox)

    def play_each(self, playbook: str, cases: Mapping[str, Mapping[str, Any]]) -> Outcome:
        """Run a playbook once for hosts that are this one under the names of *cases*, each with variables of its own.

        It ends at the first task that refuses one of them.
        """
        known = bench_inventory(self.sandbox)
        connection = {**known[ALL_GROUP]["vars"], **known["_meta"]["hostvars"][HOST]}
        named = {name: {**CANARIES, **variables} for name, variables in cases.items()}
        hosts = {"tamma": {"vars": connection, "hosts": named}}
        file = self.directory / "cases.yml"
        file.write_text(yaml.safe_dump(hosts), encoding="utf-8")
        file.chmod(0o600)
        return self._play(playbook, "-i", str(file), "--limit", ",".join(cases))

    def state(self) -> tuple[dict[str, str], str]:
        """The containers and the files of the stack."""
        return self.containers(), self.shell("cd /opt/tamma && find . -type f -exec sha256sum {} +")

    def renew(self) -> None:
        """Put a new host in the place of this one."""
        run([*BENCH, "reset", "--name", self.sandbox, HOST])
        self.first, self.touched = None, False

    def deploy(self) -> None:
        """Deploy the stack that the tests share, while every command line on the host is collected."""
        with watched(self, "cmdline"):
            self.first = self.play("site")
        assert self.first.status == 0, self.first.output

    def remove(self) -> None:
        """Take down what is there, with its data."""
        outcome = self.play("teardown", variables={"tamma_stack_remove_volumes": "tamma"})
        assert outcome.status == 0, outcome.output

    def containers(self) -> dict[str, str]:
        """Service → id of its container."""
        form = '{{.Label "com.docker.compose.service"}} {{.ID}}'
        lines = self.shell(f"docker ps --all --no-trunc --format '{form}'").splitlines()
        return dict(line.split() for line in lines)


BENCH = ("python3", "-m", "tests.bench")


@contextlib.contextmanager
def booted(sandbox: str, engine: str = "") -> Iterator[None]:
    """A sandbox of one host, which is bare or has an engine."""
    # What an interrupted session left behind is not new.
    run([*BENCH, "down", "--name", sandbox])
    run([*BENCH, "up", "--name", sandbox, "--hosts", "1", "--engine", engine], timeout=900)
    try:
        yield
    finally:
        run([*BENCH, "down", "--name", sandbox])


@pytest.fixture(scope="session")
def installation(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the collection installed in it, where no checkout is in the path."""
    directory = tmp_path_factory.mktemp("installed")
    shutil.copy(ROOT / "ansible.cfg", directory)
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(directory / "collections")}
    run(["ansible-galaxy", "collection", "install", "--offline", artifact], cwd=directory, env=env)
    return directory


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what came of the faults."""
    if faults.tally:
        terminalreporter.section("faults")
        for line in faults.table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def provisioned(installation: Path) -> Iterator[Stack]:
    """A host with Docker and an installed collection."""
    with booted(SANDBOX, "docker"):
        yield Stack(installation)


@contextlib.contextmanager
def watched(host: Host, what: str) -> Iterator[Path]:
    """Collect what every process of the host shows as ``cmdline`` or ``environ``; yields the file on the host."""
    collected = Path(f"/root/watched-{what}")
    loop = f"while :; do cat /proc/[0-9]*/{what} 2>/dev/null; sleep 0.05; done > {collected}"
    process = host.shell(f"nohup sh -c '{loop}' >/dev/null 2>&1 & echo $!").strip()
    try:
        yield collected
    finally:
        host.shell(f"kill {process}")


@pytest.fixture(scope="module")
def stack(provisioned: Stack, request: pytest.FixtureRequest) -> Stack:
    """The host with a healthy stack, or without one for those that have another stack in the place of that."""
    other = request.node.get_closest_marker("other_stack") is not None
    if provisioned.touched or (other and provisioned.first):
        provisioned.renew()
    if other:
        provisioned.touched = True
    elif not provisioned.first:
        provisioned.deploy()
    return provisioned


@pytest.fixture
def untouched(stack: Stack) -> Iterator[Stack]:
    """The host with a healthy stack, which must be the same afterwards: containers and files."""
    before = stack.state()
    yield stack
    assert stack.state() == before


INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends"


@pytest.fixture(scope="session")
def docker_host() -> Iterator[Host]:
    """A host that has Docker and nothing of ours."""
    sandbox = f"{SANDBOX}-engines"
    with booted(sandbox):
        host = Host(sandbox)
        settings = json.dumps({"insecure-registries": [REGISTRY_ADDRESS]})
        host.shell(f"mkdir /etc/docker && echo '{settings}' > /etc/docker/daemon.json")
        host.shell(f"apt-get update --quiet=2 && {INSTALL} docker.io docker-cli docker-compose")
        yield host


@pytest.fixture(scope="session")
def podman_host(docker_host: Host) -> Host:
    """The same host with Podman beside it."""
    docker_host.shell(f"{INSTALL} podman catatonit netavark aardvark-dns nftables")
    settings = f'[[registry]]\nlocation = "{REGISTRY_ADDRESS}"\ninsecure = true\n'
    docker_host.shell(f"printf %s '{settings}' > /etc/containers/registries.conf.d/bench.conf")
    docker_host.shell("systemctl start podman.socket")
    return docker_host


class PrivateRegistry(NamedTuple):
    """A registry that asks for a login, and serves what the bench's own one has."""

    address: str
    username: str
    password: str


@pytest.fixture(scope="session")
def private_registry() -> Iterator[PrivateRegistry]:
    """A real registry with one account."""
    name = f"tamma-bench-{SANDBOX}-private-registry"
    # A password file that does not exist is made, with one account that is told in the log.
    settings = ["AUTH=htpasswd", "AUTH_HTPASSWD_REALM=bench", "AUTH_HTPASSWD_PATH=/tmp/htpasswd"]
    image = run(["docker", "inspect", "--format", "{{.Config.Image}}", REGISTRY_CONTAINER]).strip()
    # What an interrupted session left behind has another account.
    docker("rm", "--force", name, check=False)
    run(
        [
            *("docker", "run", "--detach", "--rm", "--name", name, "--label", f"{LABEL}=test", "--network", NETWORK),
            *("--network-alias", "private.bench", "--volume", f"{REGISTRY_VOLUME}:/var/lib/registry:ro"),
            *(word for setting in settings for word in ("--env", f"REGISTRY_{setting}")),
            image,
        ]
    )
    try:
        account = re.compile(r" password=(\S+) user=(\S+)")
        told = wait_until(lambda: account.search(run(["docker", "logs", name])), 30, "the registry to make an account")
        assert told
        yield PrivateRegistry("private.bench:5000", told[2], told[1])
    finally:
        run(["docker", "stop", name])
