# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle: made here, run on a host that has Docker and nothing else."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import stat
import subprocess
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.formats import parse_dotenv
from tests.bench.names import REGISTRY_ADDRESS
from tests.bench.patience import wait_until
from tests.integration.conftest import CANARIES, Host, Installed
from tests.integration.test_deploy import sandbox_settings
from tests.tools.outcome import Outcome

# Where it runs; what a bundle of somebody else's would have from ghcr.io and Docker Hub.
BENCH: dict[str, Any] = {
    "tamma_stack_registry": REGISTRY_ADDRESS,
    "tamma_stack_version": "0.2.0",
    "tamma_stack_environment": {
        name: value for name, value in sandbox_settings().items() if name != "TAMMA_BIND_ADDRESS"
    },
}
REPOSITORY = {"tamma_stack_github_owner": "example", "tamma_stack_github_repo": "sandbox"}
SERVICES = {
    *("postgres", "rabbitmq", "elsa-server", "tamma-api-dotnet", "tamma-api", "tamma-engine", "tamma-dashboard"),
}
DIRECTORY = "/home/somebody/tamma"


@pytest.fixture(scope="module")
def installed(installation: Path) -> Installed:
    return Installed(installation)


def init(installed: Installed, directory: Path, *options: str, **variables: Any) -> Outcome:
    """Make a bundle, or renew it."""
    return installed.play("init", *options, variables={"tamma_bundle_directory": str(directory), **BENCH, **variables})


def said(outcome: Outcome) -> list[str]:
    """What a person reads: the lines between the title and the recap."""
    return [line.strip() for line in outcome.output.split(" Tamma Full-Stack Installer")[1].splitlines()]


class Made:
    """A bundle and what making it said."""

    def __init__(self, directory: Path, outcome: Outcome) -> None:
        assert outcome.status == 0, outcome.output
        self.directory = directory
        self.outcome = outcome


@pytest.fixture(scope="module")
def made(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One with every key; a check comes first."""
    directory = tmp_path_factory.mktemp("bundle") / "tamma"
    check = init(installed, directory, "--check", **REPOSITORY)
    assert check.status == 0, check.output
    assert "would be done" in check.output
    assert not directory.exists()
    return Made(directory, init(installed, directory, **REPOSITORY))


def modes(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*")}


def test_it_shows_numbered_steps_and_what_comes_next(made: Made) -> None:
    lines = said(made.outcome)
    steps = [" ".join(line.split()) for line in lines if re.match(r"\[\d+/", line)]
    assert steps == [
        "[1/6] Generating docker-compose.yml... done",
        "[2/6] Generating .env from template... done",
        "[3/6] Copying init-db.sql... done",
        "[4/6] Copying nginx config... done",
        "[5/6] Copying scripts... done",
        "[6/6] Writing README.md and .gitignore... done",
    ]
    created = lines[lines.index("Created:") + 1 : lines.index("Next steps:") - 1]
    assert {f"{made.directory}/{name}" for name in modes(made.directory) if (made.directory / name).is_file()} == {
        *created,
        f"{made.directory}/.tamma/bundle.json",
        f"{made.directory}/.tamma/variables.json",
    }
    following = lines[lines.index("Next steps:") + 1 : lines.index("Next steps:") + 4]
    assert following == [
        f"1. Run: cd {made.directory} && docker compose up -d",
        "2. Open http://localhost:3001 for the dashboard",
        "3. View logs: docker compose logs -f tamma-engine",
    ]


def test_its_secrets_are_in_one_private_file(made: Made) -> None:
    found = {
        path.relative_to(made.directory).as_posix()
        for path in made.directory.rglob("*")
        if path.is_file() and any(canary in path.read_text(encoding="utf-8") for canary in CANARIES.values())
    }
    assert found == {".env"}
    started = {name for name, mode in modes(made.directory).items() if mode & 0o100 and name.endswith(".sh")}
    assert started == {"tamma-backup.sh", "tamma-restore.sh", "tamma-update.sh"}
    private = {name for name, mode in modes(made.directory).items() if not mode & 0o077}
    assert private == {".env", ".tamma", ".tamma/bundle.json", ".tamma/variables.json"}
    assert {"/.tamma/", ".env"} <= set((made.directory / ".gitignore").read_text(encoding="utf-8").splitlines())


def test_nothing_is_built(made: Made) -> None:
    for path in made.directory.glob("docker-compose*.yml"):
        assert not re.search(r"^\s+build:", path.read_text(encoding="utf-8"), re.MULTILINE)


# -- run ------------------------------------------------------------------------------------


@pytest.fixture
def host(docker_host: Host) -> Iterator[Host]:
    """The host with Docker, on which nothing of a bundle stays."""
    yield docker_host
    docker_host.shell(f"cd {DIRECTORY} && docker compose down --volumes --timeout 0; rm -rf {DIRECTORY}")


def health(host: Host) -> dict[str, str]:
    """The health of every container, by service; where there are several, of the last."""
    listed = host.shell(f"cd {DIRECTORY} && docker compose ps --all --format json").splitlines()
    return {item["Service"]: item["Health"] for item in map(json.loads, listed)}


UP = f"cd {DIRECTORY} && docker compose up --detach --quiet-pull"
WAIT = f"{UP} --wait --wait-timeout 120"


def test_it_runs_on_a_host_that_has_docker_alone(host: Host, made: Made) -> None:
    host.put(made.directory, DIRECTORY)
    host.shell(UP)
    host.shell(WAIT)
    assert health(host) == dict.fromkeys(SERVICES, "healthy")
    assert '"status"' in host.shell("curl --fail --silent http://127.0.0.1:3001/api/health")
    assert "<html" in host.shell("curl --fail --silent http://127.0.0.1:3001/some/deep/link")
    listening = host.shell("ss --listening --tcp --numeric --no-header --processes | grep docker-proxy").splitlines()
    assert {line.split()[3].rpartition(":")[0] for line in listening} == {"127.0.0.1"}


def test_without_keys_the_rest_runs_and_two_say_what_they_lack(host: Host, made: Made) -> None:
    """Without any .env. The images still have to come from the bench."""
    host.put(made.directory, DIRECTORY)
    images = {"TAMMA_REGISTRY": REGISTRY_ADDRESS, "TAMMA_VERSION": "0.2.0", **BENCH["tamma_stack_environment"]}
    exported = " ".join(f"export {name}={value};" for name, value in images.items())
    host.shell(f"rm {DIRECTORY}/.env; {exported} {UP}")
    working = SERVICES - {"tamma-api", "tamma-engine"}
    host.shell(f"{exported} {WAIT} {' '.join(sorted(working - {'tamma-dashboard'}))}")
    # The dashboard depends on the API, which would be waited for.
    wait_until(lambda: health(host)["tamma-dashboard"] == "healthy", 60, "the dashboard")
    assert {name for name, state in health(host).items() if state == "healthy"} == working
    for name in ("tamma-api", "tamma-engine"):
        log = host.shell(f"cd {DIRECTORY} && docker compose logs {name}")
        assert "GitHub token is required (set GITHUB_TOKEN" in log
        assert "GitHub owner is required" in log


# -- with an edge ---------------------------------------------------------------------------


EDGE: dict[str, Any] = {
    "tamma_stack_profile": "production",
    "tamma_stack_domain": "tamma.test",
    "tamma_stack_edge_tls": "internal",
    # The password is bench-password.
    "tamma_stack_edge_users": {"operator": "$2b$10$N9qo8uLOickgx2ZMRZoMyebHhBd1vpC90uh6AdoNJ/xurIsrmNY8y"},
    "tamma_stack_engine_ssh_key": "no-key-but-as-secret",
    "tamma_stack_engine_known_hosts": "git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample",
    "tamma_stack_engine_workdir": "/srv/engine",
}


def test_it_runs_with_an_edge_after_the_steps_that_it_names(host: Host, installed: Installed, tmp_path: Path) -> None:
    outcome = init(installed, tmp_path, **REPOSITORY, **EDGE)
    assert outcome.status == 0, outcome.output
    assert "[5/8] Generating Caddy config..." in outcome.output
    host.put(tmp_path, DIRECTORY)
    # As whoever copied it would own it.
    host.shell(f"chown -R 1000:1000 {DIRECTORY}")
    (as_root,) = re.findall(r"As root: `(.+?)`", (tmp_path / "README.md").read_text(encoding="utf-8"))
    assert f"in {tmp_path}, as root: {as_root}" in outcome.output
    host.shell(f"cd {DIRECTORY} && {as_root} && {UP} && {WAIT}")
    assert health(host) == dict.fromkeys([*SERVICES, "edge"], "healthy")

    curl = "curl --silent --insecure --resolve tamma.test:443:127.0.0.1 --output /dev/null --write-out '%{http_code}'"
    answers = [
        host.shell(f"{curl} {options} https://tamma.test/") for options in ("", "--user operator:bench-password")
    ]
    assert answers == ["401", "200"]
    inside = f"cd {DIRECTORY} && docker compose exec -T tamma-engine"
    assert host.shell(f"{inside} sh -c 'touch /workspace/from-inside && cat /run/ssh/id'") == "no-key-but-as-secret\n"
    ignored = (tmp_path / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/edge/users.caddy", "/engine/ssh/id"} <= set(ignored)


def test_secret_files_are_refused(installed: Installed, tmp_path: Path) -> None:
    outcome = init(installed, tmp_path / "new", **REPOSITORY, tamma_stack_secret_delivery="files")
    assert outcome.status != 0
    assert "A bundle has its secrets in .env" in " ".join(outcome.output.split())
    assert not (tmp_path / "new").exists()


# -- at a terminal, and again ---------------------------------------------------------------


def type_answers(command: list[str], installed: Installed, answers: dict[str, str]) -> tuple[int, str]:
    """Run a command at a terminal and answer what it asks. Returns its status and what the terminal showed."""
    master, terminal = pty.openpty()
    shown, answered = "", 0
    waiting = list(answers.items())
    typed = b""
    with subprocess.Popen(
        ["setsid", "--ctty", *command],
        cwd=installed.directory,
        env=installed.env,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        with suppress(OSError):  # the terminal's end
            while True:
                silent = not select.select([master], [], [], 1)[0]
                if not silent:
                    shown += os.read(master, 4096).decode()
                # A question throws away what was typed before it reads key by key; then nothing happens.
                if termios.tcgetattr(master)[3] & termios.ICANON:
                    continue
                if waiting and waiting[0][0] in shown[answered:]:
                    answered, typed = len(shown), waiting.pop(0)[1].encode() + b"\r"
                    os.write(master, typed)
                elif silent:
                    os.write(master, typed)
    os.close(master)
    assert waiting == [], shown
    return process.returncode, shown


def test_it_asks_at_a_terminal_and_never_again_for_what_it_has(installed: Installed, tmp_path: Path) -> None:
    command = ["ansible-playbook", "meywd.tamma.init", "-e", f"tamma_bundle_directory={tmp_path}"]
    answers = {
        "GITHUB_OWNER, ": "example",
        "GITHUB_REPO, ": "sandbox",
        "GITHUB_TOKEN, ": "typed-$ecret #1",
        "ANTHROPIC_API_KEY, ": "",
    }
    status, shown = type_answers(command, installed, answers)
    assert status == 0, shown
    assert "typed-" not in shown
    assert "ANTHROPIC_API_KEY is not set: it is a key from console.anthropic.com." in shown
    first = parse_dotenv((tmp_path / ".env").read_text(encoding="utf-8"))
    assert (first["GITHUB_OWNER"], first["GITHUB_REPO"]) == ("example", "sandbox")
    assert (first["GITHUB_TOKEN"], first["ANTHROPIC_API_KEY"]) == ("typed-$ecret #1", "")

    status, shown = type_answers(command, installed, {"ANTHROPIC_API_KEY, ": "another-typed"})
    assert status == 0, shown
    assert "GITHUB_OWNER, " not in shown
    assert "Missing:" not in shown
    second = parse_dotenv((tmp_path / ".env").read_text(encoding="utf-8"))
    assert second == {**first, "ANTHROPIC_API_KEY": "another-typed"}


def test_it_is_renewed_and_what_was_changed_stays(installed: Installed, made: Made) -> None:
    directory = made.directory
    assert init(installed, directory, **REPOSITORY).unchanged
    nginx, env = directory / "nginx/default.conf.template", directory / ".env"
    nginx.write_text("# mine\n", encoding="utf-8")
    changed = env.read_text(encoding="utf-8").replace("# DASHBOARD_PORT=3001", "DASHBOARD_PORT=8080")
    env.write_text(changed, encoding="utf-8")
    outcome = init(installed, directory, tamma_stack_version="0.3.0", **REPOSITORY)
    lines = said(outcome)
    assert lines[lines.index(f"Kept in {env}, where you change them:") + 1] == "TAMMA_VERSION"
    assert nginx.read_text(encoding="utf-8") == "# mine\n"
    before, after = parse_dotenv(changed), parse_dotenv(env.read_text(encoding="utf-8"))
    assert {name for name in after if after[name] != before.get(name)} == {"DASHBOARD_CONFIG_HASH"}
    assert set(after) == set(before)
