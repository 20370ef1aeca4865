# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotating secrets: what is refused, the journal, and what PostgreSQL is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings

from ansible_collections.meywd.tamma.plugins.module_utils import planner
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Scram
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release, environment
from ansible_collections.meywd.tamma.plugins.module_utils.rotation import (
    JOURNAL,
    Credentials,
    Journal,
    amended,
    begin,
    ended,
    note,
    pending,
    resumed,
    verifier,
)
from tests.unit.test_formats import printable

UNDER_WAY = Journal({"POSTGRES_PASSWORD": "before"}, {"POSTGRES_PASSWORD": "after"})
KEPT = {"POSTGRES_PASSWORD": "before", "RABBITMQ_PASSWORD": "b€fore"}


def release(directory: Path, secrets: dict[str, str], **changed: object) -> Release:
    wanted = Release(
        project="tamma",
        directory=str(directory),
        files=[],
        compose_files=["docker-compose.yml"],
        settings={},
        secrets=secrets,
        generated=["POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "TAMMA_JWT_SECRET"],
        pull_always=False,
        deadline=300,
        deadlines={},
    )
    return wanted._replace(**changed)  # type: ignore[arg-type]


def test_a_journal_is_private_and_read_back(tmp_path: Path) -> None:
    assert pending(str(tmp_path)) is None
    note(str(tmp_path), UNDER_WAY)
    assert os.stat(tmp_path / JOURNAL).st_mode & 0o777 == 0o600
    assert pending(str(tmp_path)) == UNDER_WAY
    note(str(tmp_path), UNDER_WAY.reversed())
    assert pending(str(tmp_path)) == Journal(UNDER_WAY.new, UNDER_WAY.old)
    ended(str(tmp_path))
    assert pending(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{}", "not JSON", '{"old": {}}'])
def test_a_journal_that_says_nothing_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    note(str(tmp_path), UNDER_WAY)
    (tmp_path / JOURNAL).write_text(text)
    with pytest.raises(OperatorError, match="remove it, and rotate the same secrets again"):
        pending(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "known", "given", "problem"),
    [
        ("GITHUB_TOKEN", {"GITHUB_TOKEN": "before"}, {"GITHUB_TOKEN": "before"}, "the value that it has already"),
        ("GITHUB_TOKEN", {"GITHUB_TOKEN": "before"}, {}, "no new value for GITHUB_TOKEN"),
        ("POSTGRES_PASSWORD", {}, {}, "no stack whose POSTGRES_PASSWORD"),
        (
            "POSTGRES_USER",
            {"POSTGRES_USER": "tamma"},
            {},
            "There is no secret POSTGRES_USER: .* takes ANTHROPIC_API_KEY",
        ),
    ],
)
def test_what_cannot_be_rotated(
    tmp_path: Path, name: str, known: dict[str, str], given: dict[str, str], problem: str
) -> None:
    with pytest.raises(OperatorError, match=problem) as caught:
        begin([name], known, release(tmp_path, given))
    assert "before" not in caught.value.message


def test_new_values_are_given_or_made_up(tmp_path: Path) -> None:
    names = ["GITHUB_TOKEN", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD"]
    journal = begin(names, {**KEPT, "GITHUB_TOKEN": "before"}, release(tmp_path, {"GITHUB_TOKEN": "after"}))
    assert journal
    assert journal.old == {"GITHUB_TOKEN": "before", "POSTGRES_PASSWORD": "before"}
    assert journal.new["GITHUB_TOKEN"] == "after"
    assert len(journal.new["POSTGRES_PASSWORD"]) >= 43
    assert begin([], KEPT, release(tmp_path, {})) is None


def test_a_rotation_goes_on_towards_what_the_inventory_says_by_now() -> None:
    assert resumed(UNDER_WAY, {"GITHUB_TOKEN": "x"}) == UNDER_WAY
    assert resumed(UNDER_WAY, {"POSTGRES_PASSWORD": "later"}).new == {"POSTGRES_PASSWORD": "later"}


def test_a_container_goes_on_to_be_told_its_first_password(tmp_path: Path) -> None:
    wanted = release(tmp_path, {})
    once = amended(KEPT, Journal(KEPT, {"POSTGRES_PASSWORD": "2", "RABBITMQ_PASSWORD": "2"}), wanted)
    assert environment(wanted, once)["POSTGRES_PASSWORD"] == "2"
    assert once["POSTGRES_INITIAL_PASSWORD"] == "before"
    # As RabbitMQ reads it: a character for each byte.
    assert once["RABBITMQ_INITIAL_PASSWORD"].encode("latin-1").decode() == "b€fore"
    twice = amended(once, Journal({"POSTGRES_PASSWORD": "2"}, {"POSTGRES_PASSWORD": "3"}), wanted)
    assert (twice["POSTGRES_PASSWORD"], twice["POSTGRES_INITIAL_PASSWORD"]) == ("3", "before")
    assert amended(once, None, wanted) == once


def test_files_that_only_the_first_start_reads_need_no_first_password(tmp_path: Path) -> None:
    with_files = release(tmp_path, {}, compose_files=["docker-compose.yml", "docker-compose.secrets.yml"])
    assert "POSTGRES_INITIAL_PASSWORD" not in amended(KEPT, UNDER_WAY, with_files)


def test_an_external_server_has_no_first_start(tmp_path: Path) -> None:
    external = release(tmp_path, {"POSTGRES_PASSWORD": "after"}, settings={"POSTGRES_HOST": "db.example.org"})
    assert "POSTGRES_INITIAL_PASSWORD" not in amended(KEPT, UNDER_WAY, external)


@settings(deadline=None, max_examples=20)
@given(printable)
def test_whoever_knows_the_password_proves_it_against_the_verifier(password: str) -> None:
    mechanism, _, rest = verifier(password).partition("$")
    iterations, salt, stored, server = rest.replace("$", ":").split(":")
    assert mechanism == "SCRAM-SHA-256"

    client = Scram(password, nonce="mine")
    first = "r=mineyours,s=%s,i=%s" % (salt, iterations)
    final, _, proof = client.answer(first).rpartition(",p=")
    message = ("n=,r=mine,%s,%s" % (first, final)).encode()
    signature = hmac.new(base64.b64decode(stored), message, hashlib.sha256).digest()
    key = bytes(one ^ other for one, other in zip(signature, base64.b64decode(proof), strict=True))
    assert hashlib.sha256(key).digest() == base64.b64decode(stored)
    answer = hmac.new(base64.b64decode(server), message, hashlib.sha256).digest()
    assert client.proves("v=" + base64.b64encode(answer).decode())


# -- who needs no password meanwhile --------------------------------------------------------

HBA = "local all all scram-sha-256\nhost all all all scram-sha-256\n"


class Running:
    """Containers with their addresses, and PostgreSQL's pg_hba.conf as a file here."""

    name = "tamma"

    def __init__(self, hba: Path, **networks: dict[str, str]) -> None:
        self.hba = hba
        self.reloads = 0
        self._networks = {service.replace("_", "-"): where for service, where in networks.items()}

    def containers(self, _project: str) -> list[dict[str, Any]]:
        labels = "com.docker.compose.service"
        return [{"Id": name, "State": "running", "Labels": {labels: name}} for name in self._networks]

    def container(self, identifier: str) -> dict[str, Any]:
        where = self._networks[identifier]
        return {"NetworkSettings": {"Networks": {name: {"IPAddress": where[name]} for name in where}}}

    def run(self, *words: str, stdin: str = "", timeout: int = 0) -> SimpleNamespace:
        argv = words[3:]
        if argv[0] == "psql":
            self.reloads += "pg_reload_conf" in stdin
            return SimpleNamespace(rc=0, out=str(self.hba) + "\n", err="")
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
        return SimpleNamespace(rc=done.returncode, out=done.stdout, err=done.stderr)

    def credentials(self, monkeypatch: pytest.MonkeyPatch) -> Credentials:
        monkeypatch.setattr(planner, "keeper", lambda *_arguments: SimpleNamespace(name="postgres"))
        env = {"POSTGRES_USER": "tamma", "POSTGRES_DB": 'odd "name'}
        return Credentials(self, self, self, env, deadline=1)  # type: ignore[arg-type]


def lent(hba: Path) -> list[str]:
    return [line.partition(" # tamma")[0] for line in hba.read_text().splitlines() if " # tamma" in line]


def test_only_those_who_need_it_are_let_in_during_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hba = tmp_path / "pg_hba.conf"
    hba.write_text(HBA)
    stack = Running(
        hba,
        postgres={"data": "10.1.0.2", "published": "10.9.0.2"},
        elsa_server={"data": "10.1.0.3", "workflows": "10.2.0.3"},
        tamma_api_dotnet={"data": "10.1.0.4", "net": "10.3.0.4"},
        tamma_engine={"data": "10.1.0.5"},
    )
    keepers = stack.credentials(monkeypatch)
    keepers.lend()
    assert lent(hba) == [
        'host "odd ""name" "tamma" 10.1.0.3/32 trust',
        'host "odd ""name" "tamma" 10.1.0.4/32 trust',
    ]
    assert hba.read_text().endswith(HBA)
    keepers.withdraw()
    assert hba.read_text() == HBA
    assert stack.reloads == 2


def test_what_a_killed_rotation_lent_goes_with_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hba = tmp_path / "pg_hba.conf"
    former = 'host all "tamma" 10.1.0.9/32 trust # tamma: until the rotation ends\n'
    hba.write_text(former + HBA)
    # It was killed while it wrote.
    (tmp_path / "pg_hba.conf.tamma").write_text("host all all")
    stack = Running(hba, postgres={"data": "10.1.0.2"}, elsa_server={"data": "10.1.0.7"})
    keepers = stack.credentials(monkeypatch)
    keepers.lend()
    assert lent(hba) == ['host "odd ""name" "tamma" 10.1.0.7/32 trust']
    keepers.withdraw()
    assert hba.read_text() == HBA
    assert [path.name for path in tmp_path.iterdir()] == ["pg_hba.conf"]
