# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What restic complains about, as the operator reads it; restic's words were recorded from real ones."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils import restic
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository, Restic, Snapshot, complaint, explain
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

RECORDED = Path(__file__).parent / "recorded" / "restic_failures.json"
STORE = Restic(
    Repository("offsite", "/srv/backups", "/etc/tamma/tamma/repository-offsite.password"), Runner(), "restic"
)

# How the sentence begins, and whether it tells what to do.
SENTENCES = {
    "password": r"The repository offsite is not opened by its password: correct the password of offsite",
    "missing": r"There is no repository at the location of offsite: check it",
    "damage": r"The repository offsite is damaged: .+ take a new backup into another repository first",
    "full": r"The disk of the repository offsite is full: make room there",
    "locked": r"The repository offsite is in use by another process: wait",
    "access": r"The repository offsite refuses access: .+ Check the credentials",
    "unreachable": r"The repository offsite cannot be reached: .+ Check its location, the network",
}


def recorded() -> Iterator[tuple[str, str, int, str]]:
    for kind, failures in json.loads(RECORDED.read_text(encoding="utf-8")).items():
        for version, status, said in failures:
            yield kind, version, status, said


@pytest.mark.parametrize(("kind", "version", "status", "said"), list(recorded()))
def test_every_failure_becomes_its_sentence(kind: str, version: str, status: int, said: str) -> None:
    sentence = explain(STORE, Result(status, "", said))
    assert re.match(SENTENCES[kind], sentence), (version, said)
    assert sentence.endswith(".")
    assert ".." not in sentence
    assert "\n" not in sentence
    assert "hunter2" not in sentence


def test_every_kind_was_recorded_from_both_versions() -> None:
    versions: dict[str, set[str]] = {}
    for kind, version, _status, _said in recorded():
        versions.setdefault(kind, set()).add(version)
    assert versions == {kind: {"0.14", "0.18"} for kind in SENTENCES}


def test_what_is_not_known_is_said_in_restics_words() -> None:
    assert explain(STORE, Result(1, "", "Fatal: the moon is full\n")) == (
        "restic failed on the repository offsite: the moon is full."
    )
    assert explain(STORE, Result(1, "", "")) == "restic failed on the repository offsite: it said nothing."


def test_the_reason_is_the_fatal_line() -> None:
    assert complaint("warning: one blob\nFatal: it is broken.\nother words\n") == "it is broken"
    assert complaint('{"message_type":"exit_error","code":1,"message":"Fatal: no"}\n') == "no"
    assert complaint('{"message_type":"error","error":{"message":"cannot read x"}}\n') == "cannot read x"


@given(st.text(st.characters(exclude_characters="/@", exclude_categories=["Z", "C"]), min_size=1), st.text())
def test_no_login_of_a_location_is_repeated(login: str, around: str) -> None:
    said = complaint("%s rest:https://%s@host/path" % (around.replace("\n", " "), login))
    assert "//%s@" % login not in said or login == "***"


@pytest.mark.parametrize("login", ["user:pa/ss", "user:p@ss", "user:pa//ss@x"])
def test_a_login_with_the_signs_of_an_address_is_not_repeated(login: str) -> None:
    assert complaint("rest:https://%s@host/path is away" % login) == "rest:https://***@host/path is away"


@given(st.text())
def test_whatever_it_says_becomes_one_line(said: str) -> None:
    sentence = explain(STORE, Result(1, "", said))
    assert len(sentence.splitlines()) == 1


def test_only_a_repository_that_is_not_there_is_made(tmp_path: Path) -> None:
    """One that cannot be reached, or refuses, is not taken for a new one."""
    program = tmp_path / "restic"
    program.write_text(
        '#!/bin/sh\ncat "$RESTIC_REPOSITORY/said" >&2\nexit $(cat "$RESTIC_REPOSITORY/status")\n', encoding="utf-8"
    )
    os.chmod(program, 0o755)
    store = Restic(STORE.repository._replace(location=str(tmp_path)), Runner(), str(program))
    for kind, _version, status, said in recorded():
        (tmp_path / "said").write_text(said, encoding="utf-8")
        (tmp_path / "status").write_text(str(status), encoding="utf-8")
        if kind == "missing":
            assert store.exists() is False
        else:
            with pytest.raises(OperatorError, match=SENTENCES[kind]):
                store.exists()
    (tmp_path / "status").write_text("0", encoding="utf-8")
    assert store.exists() is True


def test_a_host_without_restic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_words, **_options: None)
    with pytest.raises(OperatorError, match=r"let the role meywd\.tamma\.tamma_backup install it\.$"):
        Restic(STORE.repository, Runner())


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A program in restic's place that tells how it was called."""
    program = tmp_path / "restic"
    program.write_text(
        "#!/bin/sh\n"
        'printf "%%s\\n" "$@" > %s/arguments\n'
        % tmp_path
        + "env > %s/environment\ncat %s/answer\nexit $(cat %s/status)\n" % (tmp_path, tmp_path, tmp_path),
        encoding="utf-8",
    )
    os.chmod(program, 0o755)
    (tmp_path / "answer").write_text("", encoding="utf-8")
    (tmp_path / "status").write_text("0", encoding="utf-8")
    return program


FULL = "Save(<data/5cdc7d7f56>) returned error, retrying after 552ms: write: no space left on device"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (FULL, "The disk of the repository offsite is full: make room there"),
        ("retrying after 2s: something new", "(got nothing done for|does not answer within) 1 seconds: check"),
    ],
)
def test_who_tries_for_ever_is_asked_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: str) -> None:
    monkeypatch.setattr(restic, "_PATIENCE_SECONDS", 1)
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexec sleep 60\n", encoding="utf-8")
    program.chmod(0o755)
    store = Restic(STORE.repository, Runner(), str(program))
    with pytest.raises(OperatorError, match=told):
        store._follow([[str(program)]], lambda _line: True)
    with pytest.raises(OperatorError, match=told):
        store._run("forget", timeout=1)


def test_snapshots_are_read_as_restic_prints_them(stand_in: Path) -> None:
    listed = [
        {
            "id": "b" * 64,
            "time": "2026-01-02T03:04:05Z",
            "tags": ["stack=tamma", "part=state", "loose"],
            "paths": ["/x"],
        },
        {"id": "a" * 64, "time": "2026-01-01T03:04:05.123456789Z", "tags": None, "hostname": "tamma"},
    ]
    (stand_in.parent / "answer").write_text(json.dumps(listed), encoding="utf-8")
    store = Restic(STORE.repository, Runner(), str(stand_in))
    assert store.snapshots({"stack": "tamma", "part": "state"}) == [
        Snapshot("a" * 64, "2026-01-01T03:04:05.123456789Z", {}),
        Snapshot("b" * 64, "2026-01-02T03:04:05Z", {"stack": "tamma", "part": "state"}),
    ]
    assert "part=state,stack=tamma" in (stand_in.parent / "arguments").read_text(encoding="utf-8").splitlines()


def test_no_snapshots_at_all(stand_in: Path) -> None:
    (stand_in.parent / "answer").write_text("null\n", encoding="utf-8")
    assert Restic(STORE.repository, Runner(), str(stand_in)).snapshots({}) == []


def test_location_and_keys_are_in_the_environment_alone(stand_in: Path) -> None:
    repository = Repository(
        "s3", "s3:https://host/canary-location", "/the/password", {"AWS_SECRET_ACCESS_KEY": "canary-key"}
    )
    Restic(repository, Runner(), str(stand_in)).check("5%")
    arguments = (stand_in.parent / "arguments").read_text(encoding="utf-8")
    environment = (stand_in.parent / "environment").read_text(encoding="utf-8").splitlines()
    assert "canary" not in arguments
    assert "RESTIC_REPOSITORY=s3:https://host/canary-location" in environment
    assert "AWS_SECRET_ACCESS_KEY=canary-key" in environment
    assert "RESTIC_PASSWORD_FILE=/the/password" in environment


@pytest.mark.parametrize(
    ("version", "told"), [("0.14.0", False), ("0.16.4", False), ("0.17.0", True), ("0.18.1", True)]
)
def test_what_is_read_back_anyway_is_not_verified_twice(tmp_path: Path, version: str, told: bool) -> None:
    """An old restic does not know the option."""
    program = tmp_path / "restic"
    program.write_text(
        f"""#!/bin/sh -eu
case "$1" in version) echo "restic {version} compiled with go1.24" ;; *) echo "$@" >> {tmp_path}/said ;; esac
"""
    )
    os.chmod(program, 0o755)
    store = Restic(STORE.repository, Runner(), str(program))
    store.store({"part": "state"}, "2026-01-31 12:00:00", directory=str(tmp_path))
    assert ("--no-extra-verify" in (tmp_path / "said").read_text().split()) == told
