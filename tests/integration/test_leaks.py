# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where secrets are and where they are not: a canary for each, hunted on the whole host in both modes.

Then the same host has everything that is secret: secret files, an edge with a certificate and users of
its own, the engine's SSH key and configuration, and an image from a registry that asks for a login.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import string
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from ansible_collections.meywd.tamma.plugins.module_utils.secret_files import STORE, TABLE
from tests.bench import images, registry
from tests.bench.names import REGISTRY_ADDRESS
from tests.integration.conftest import CANARIES, PrivateRegistry, Stack, watched
from tests.integration.test_deploy import sandbox_settings
from tests.tools import authority

HUNT = (Path(__file__).parent / "hunt.py").read_text(encoding="utf-8")
DIRECTORY = "/opt/tamma/"
DOMAIN = "tamma.test"
OF_A_SERVICE = "tamma_stack_service_environment"
# Where the engine records what a container is told: its environment is in there.
DATABASE = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
RECORDS = ("/var/lib/docker/containers/*/config.v2.json", "/run/containerd/*/moby/*/config.json", DATABASE)


def spellings(stack: Stack) -> dict[str, list[str]]:
    """Each canary, in every form in which it could stand somewhere."""
    hunted = {name: [canary] for name, canary in stack.canaries.items()}
    hunted["tamma_stack_rabbitmq_password"].append(
        ",".join(map(str, CANARIES["tamma_stack_rabbitmq_password"].encode()))
    )
    return hunted


def hunt(stack: Stack) -> dict[str, Any]:
    """Search the whole host."""
    command = ["docker", "exec", "--interactive", stack.container, "python3", "-c", HUNT]
    done = subprocess.run(command, input=json.dumps(spellings(stack)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def shown(stack: Stack, *scripts: str) -> list[str]:
    """The lines of the scripts' output that show a canary, with its name in the place of its value."""
    forms = {form: name for name, forms in spellings(stack).items() for form in forms}
    output = "".join(map(stack.shell, scripts))
    assert len(output) > 1000
    lines = []
    for line in output.splitlines():
        masked = line
        for form, name in forms.items():
            masked = masked.replace(form, f"<{name}>")
        if masked != line:
            lines.append(masked)
    return lines


LOGS = "journalctl --no-pager; cd /opt/tamma && docker compose logs"
OF_IMAGES = "docker image ls -q | xargs -n 1 sh -c 'docker image inspect $0; docker history --no-trunc $0'"
OF_THE_REST = """
docker network ls -q | xargs docker network inspect; docker volume ls -q | xargs docker volume inspect; docker info
"""
OF_CONTAINERS = "docker ps --all --quiet | xargs docker inspect; cd /opt/tamma && docker compose config"


def test_no_secret_in_an_argument_of_any_process(stack: Stack) -> None:
    assert "docker-compose" in stack.shell("cat /root/watched-cmdline")  # it was watched while Compose ran
    assert shown(stack, "cat /root/watched-cmdline") == []


def test_without_secret_files_one_private_file_and_the_engine_have_them(stack: Stack) -> None:
    found = hunt(stack)
    in_env = found["files"].pop("/opt/tamma/.env")
    assert in_env == sorted(CANARIES)
    assert found["modes"]["/opt/tamma/.env"] == "0600"
    assert {pattern for path in found["files"] for pattern in RECORDS if fnmatch(path, pattern)} == set(RECORDS)
    assert [path for path in found["files"] if not any(fnmatch(path, pattern) for pattern in RECORDS)] == []
    assert found["open"] == []
    assert (found["memory"], found["arguments"]) == ({}, {})
    assert shown(stack, LOGS, OF_IMAGES, OF_THE_REST) == []


# -- everything -----------------------------------------------------------------------------


class Everything(NamedTuple):
    """A stack with all that can be secret but an App: the variables that made it so, and the engine's key."""

    stack: Stack
    variables: dict[str, Any]
    key: str


def bcrypt_hash() -> str:
    """What looks like a hash of a password; nobody knows of which."""
    letters = string.ascii_letters + string.digits + "./"
    return "$2y$10$" + "".join(secrets.choice(letters) for _ in range(53))


@pytest.fixture(scope="module")
def everything(
    stack: Stack, private_registry: PrivateRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Everything]:
    """One deploy on top of the development stack; the host ends as it began."""
    directory = tmp_path_factory.mktemp("everything")
    authority.make(directory, [DOMAIN])
    pem, openssh = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH
    private = ed25519.Ed25519PrivateKey.generate().private_bytes(pem, openssh, serialization.NoEncryption())
    key = private.decode().strip()
    certificate_key = (directory / "server.key").read_text(encoding="utf-8")
    configured, user = "canary-config-" + secrets.token_hex(12), bcrypt_hash()
    webhook = "canary-webhook-" + secrets.token_hex(12)
    registry.push({"library/postgres:15": images.tag("postgres")})
    login = private_registry.username + ":" + private_registry.password
    stack.canaries.update(
        {
            "tamma_stack_engine_ssh_key": key.splitlines()[2],
            "tamma_stack_engine_config": configured,
            OF_A_SERVICE: webhook,
            "tamma_stack_edge_certificate_key": certificate_key.splitlines()[1],
            "tamma_stack_edge_users": user.rpartition("$")[2],
            "tamma_stack_registry_logins": private_registry.password,
            "tamma_stack_registry_logins, encoded": base64.b64encode(login.encode()).decode(),
        }
    )
    variables = {
        "tamma_stack_secret_delivery": "files",
        "tamma_stack_edge": True,
        "tamma_stack_domain": DOMAIN,
        "tamma_stack_edge_dns": "nothing",
        "tamma_stack_edge_tls": "files",
        "tamma_stack_edge_certificate": (directory / "server.pem").read_text(encoding="utf-8"),
        "tamma_stack_edge_certificate_key": certificate_key,
        "tamma_stack_edge_users": {"alice": user},
        "tamma_stack_engine_config": {"github": {"token": configured}},
        OF_A_SERVICE: {"tamma-api-dotnet": {"Slack__WebhookUrl": f"https://hooks.test/{webhook}"}},
        "tamma_stack_engine_ssh_key": key,
        "tamma_stack_engine_known_hosts": "git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample",
        "tamma_stack_engine_workdir": "/srv/engine",
        "tamma_stack_registry_logins": [
            {
                "registry": private_registry.address,
                "username": private_registry.username,
                "password": private_registry.password,
            }
        ],
        "tamma_stack_environment": {
            **sandbox_settings(),
            "API_IMAGE": f"{private_registry.address}/tamma-api:0.2.0",
            # Docker Hub's, which only the mirror has here.
            "POSTGRES_IMAGE": "postgres:15",
        },
        "tamma_runtime_registry_mirrors": [f"http://{REGISTRY_ADDRESS}"],
        "tamma_runtime_insecure_registries": [REGISTRY_ADDRESS, private_registry.address],
    }
    with watched(stack, "cmdline"):
        outcome = stack.play("site", variables=variables)
    assert outcome.status == 0, outcome.output
    yield Everything(stack, variables, key)
    back = stack.play("site")
    assert back.status == 0, back.output
    assert stack.shell("cd /opt/tamma && ls -d secrets engine 2>/dev/null || true") == ""


# Beside the secret files of the table, which stand in both modes.
OWN_FILES = {
    "tamma_stack_engine_ssh_key": "engine/ssh/id",
    "tamma_stack_engine_config": "engine/tamma.config.json",
    "tamma_stack_edge_certificate_key": "edge/tls/key.pem",
    "tamma_stack_edge_users": "edge/users.caddy",
}
# docs/secrets.md, Exceptions: what the images force.
IN_MEMORY = {"edge:/config/caddy/autosave.json": ["tamma_stack_edge_users"]}
IN_ENVIRONMENTS = {"postgres": ["tamma_stack_postgres_password"], "python3": [OF_A_SERVICE]}
# A variable of a service is one in both modes, so that whoever may ask the engine sees it.
FILES_OF_A_SERVICE = (
    *RECORDS,
    DIRECTORY + "docker-compose.environment.yml",
    # Each release keeps its own.
    DIRECTORY + ".tamma/releases/*/files/docker-compose.environment.yml",
)


def places() -> dict[str, list[str]]:
    """The files that docs/secrets.md names, and the canaries that are in each."""
    variables = {
        setting: name
        for name in CANARIES
        for setting in [name.removeprefix("tamma_stack_").upper().replace("JWT", "TAMMA_JWT")]
    }
    pairs = [(path, name) for name, path in OWN_FILES.items()]
    # Each release keeps its own.
    pairs.append((".tamma/releases/N/files/" + OWN_FILES["tamma_stack_engine_config"], "tamma_stack_engine_config"))
    for place in TABLE:
        pairs += [(place.path, variables[place.secret]), (STORE, variables[place.secret])]
    return {DIRECTORY + path: sorted({name for other, name in pairs if other == path}) for path, _name in pairs}


def test_a_second_run_changes_nothing(everything: Everything) -> None:
    again = everything.stack.play("site", "--check", variables=everything.variables)
    assert again.unchanged, again.output
    assert everything.stack.play("status", variables=everything.variables).status == 0


def test_with_secret_files_only_these_have_them(everything: Everything) -> None:
    found = hunt(everything.stack)
    of_a_service = {path for path, names in found["files"].items() if OF_A_SERVICE in names}
    assert {pattern for path in of_a_service for pattern in FILES_OF_A_SERVICE if fnmatch(path, pattern)} == {
        *FILES_OF_A_SERVICE
    }
    assert [path for path in of_a_service if not any(fnmatch(path, pattern) for pattern in FILES_OF_A_SERVICE)] == []
    for path in of_a_service:
        found["files"][path].remove(OF_A_SERVICE)
        if not found["files"][path] and not path.startswith(DIRECTORY):
            found["modes"].pop(path)
    found["files"] = {path: names for path, names in found["files"].items() if names}
    # Containers of the other mode have been here: a database forgets only when it needs the room.
    assert not set(found["files"].pop(DATABASE, ())) - set(CANARIES)
    found["modes"].pop(DATABASE, None)
    kept = {re.sub(r"/releases/\d+/", "/releases/N/", path): names for path, names in found["files"].items()}
    assert kept == places()
    assert (set(found["modes"].values()), found["open"]) == ({"0400", "0600"}, [])
    assert found["environments"] == IN_ENVIRONMENTS
    assert (found["memory"], found["arguments"]) == (IN_MEMORY, {})
    assert shown(everything.stack, LOGS, OF_IMAGES, OF_THE_REST) == []
    assert set(re.findall(r"<(tamma_\w+)>", "".join(shown(everything.stack, OF_CONTAINERS)))) == {OF_A_SERVICE}
    assert shown(everything.stack, "cat /root/watched-cmdline") == []


def test_a_login_for_a_registry_is_gone_after_the_pull(everything: Everything) -> None:
    stack = everything.stack
    assert "private.bench:5000/tamma-api:0.2.0" in stack.shell("docker ps --format '{{.Image}}'").split()
    assert stack.shell("ls -A /root/.docker /run/tamma 2>/dev/null || true").split() == ["/run/tamma:", "tamma.lock"]
    # Nobody else can pull there.
    refused = stack.shell("docker pull private.bench:5000/tamma-engine:0.2.0 2>&1 || true")
    assert "no basic auth credentials" in refused


def test_docker_hub_s_images_come_from_the_mirror(everything: Everything) -> None:
    """There is no way to Docker Hub here: what is asked of it has come from the mirror."""
    assert "postgres:15" in everything.stack.shell("docker ps --format '{{.Image}}'").split()
    digests = everything.stack.shell("docker image inspect --format '{{.RepoDigests}}' postgres:15")
    assert "[postgres@sha256:" in digests


def test_the_engine_s_key_is_readable_by_its_user_alone(everything: Everything) -> None:
    inside = "cd /opt/tamma && docker compose exec -T tamma-engine "
    shell = everything.stack.shell
    files = "/run/ssh/id /run/ssh/known_hosts /app/tamma.config.json"
    assert shell(f"{inside} stat -c '%a %u' {files}").split() == ["600", "1001"] * 3
    assert shell(f"{inside} sh -c 'touch /workspace/from-inside; cat /run/ssh/id'").strip() == everything.key
    assert shell("stat -c '%a %u' /srv/engine /srv/engine/from-inside").split() == ["750", "1001", "644", "1001"]


def test_an_app_and_other_known_hosts_make_other_containers_and_nothing_shows_meanwhile(everything: Everything) -> None:
    stack = everything.stack
    before = stack.containers()
    known = "git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    key = rsa.generate_private_key(65537, 2048).private_bytes(*form).decode()
    stack.canaries["tamma_stack_github_app_private_key"] = key.splitlines()[5]
    app = {
        "tamma_stack_engine_known_hosts": known,
        "tamma_stack_github_token": "",
        "tamma_stack_github_app_id": "1",
        "tamma_stack_github_app_installation_id": "2",
        "tamma_stack_github_app_private_key": key,
    }
    with watched(stack, "environ") as collected, watched(stack, "cmdline"):
        outcome = stack.play("site", variables={**everything.variables, **app})
    assert outcome.status == 0, outcome.output
    after = stack.containers()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"tamma-api", "tamma-api-dotnet", "tamma-engine"}
    inside = "cd /opt/tamma && docker compose exec -T tamma-engine "
    assert stack.shell(f"{inside} cat /run/ssh/known_hosts").strip() == known
    assert stack.shell(f"{inside} cat /run/github/app.pem") == key
    environments = f"tr '\\0' '\\n' < {collected} | sort -u"
    assert {line.partition("=")[0] for line in shown(stack, environments)} == {"POSTGRES_PASSWORD", "Slack__WebhookUrl"}
    assert shown(stack, LOGS, "cat /root/watched-cmdline") == []
    found = hunt(stack)
    (place,) = [path for path, names in found["files"].items() if "tamma_stack_github_app_private_key" in names]
    assert (place, found["modes"][place], found["open"]) == (DIRECTORY + "github/app.pem", "0400", [])
    assert (found["environments"], found["arguments"]) == (IN_ENVIRONMENTS, {})
    # Nobody has the token any more but the journal of the engine's database, which forgets when it needs the room.
    assert [
        path for path, names in found["files"].items() if "tamma_stack_github_token" in names and path != DATABASE
    ] == []
    stack.shell(f"rm {collected}")
