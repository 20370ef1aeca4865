# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases that a host keeps: their records, their files without secrets, and the way back to a release."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import history, images, moments, secret_files
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, record, recorded, write
from ansible_collections.meywd.tamma.plugins.module_utils.history import FAILED, RUNNING, SERVES, Entry, History
from ansible_collections.meywd.tamma.plugins.module_utils.release import OVERRIDES, Release

CANARY = "canary-password"
PICTURES = {"api": {"reference": "api:1", "id": "sha256:a"}}


def entry(number: int, **changed: Any) -> Entry:
    known = Entry(
        number=number,
        time="2026-01-01T12:00:00Z",
        by="alice",
        origin="laptop",
        reason="",
        version="0.2.0",
        outcome=SERVES,
        mode="rolling",
        seconds=1.5,
        problem="",
        guard="",
        schema="",
        content="",
        images=PICTURES,
        options={},
    )
    return known._replace(**changed)


def base(directory: Path) -> Release:
    return Release(
        project="tamma",
        directory=str(directory),
        files=[],
        compose_files=[],
        settings={},
        secrets={},
        generated=["POSTGRES_PASSWORD"],
        pull_always=True,
        deadline=300,
        deadlines={},
    )


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A stack's directory as a deploy leaves it."""
    env = "COMPOSE_PROJECT_NAME=tamma\nCOMPOSE_FILE=docker-compose.yml:%s\nTAMMA_VERSION=0.2.0\nPOSTGRES_PASSWORD=%s\n"
    files = [
        File(".env", env % (images.OVERLAY, CANARY), 0o600),
        File("docker-compose.yml", "services: {}\n"),
        images.overlay({"api": "api:1@sha256:a"}),
        File("edge/upstreams/api", "changed by the operator\n"),
        File("engine/key", "-----BEGIN %s\n" % CANARY, 0o600),
        File(secret_files.STORE, "POSTGRES_PASSWORD=%s\n" % CANARY, 0o600),
    ]
    write(str(tmp_path), files)
    record(str(tmp_path), [item.path for item in files])
    return tmp_path


def test_a_record_is_read_back(tmp_path: Path) -> None:
    known = History(str(tmp_path))
    assert (known.entries(), known.current(), known.next_number()) == ([], None, 1)
    every = [entry(1), entry(2, outcome=FAILED), entry(10), entry(11, outcome=FAILED), entry(12, outcome=RUNNING)]
    for item in every:
        known.note(item)
    assert known.entries() == every
    assert known.current() == every[2]
    assert known.before(10) == every[0]
    assert known.before(1) is None
    assert known.next_number() == 13


def test_who_goes_back_twice_is_two_releases_further_back(tmp_path: Path) -> None:
    """And not at the release that was left first."""
    known = History(str(tmp_path))
    for item in (entry(1), entry(2), entry(3), entry(4)._replace(target=2)):
        known.note(item)
    assert known.before(4) == known.entry(1)
    known.note(entry(5))
    assert known.before(5) == known.entry(4)
    known.note(entry(6)._replace(target=4))
    assert known.before(6) == known.entry(1)
    known.forget(2)
    assert known.before(6) == known.entry(1)


def test_a_release_that_is_not_there_or_cannot_be_read_is_said(tmp_path: Path) -> None:
    known = History(str(tmp_path))
    with pytest.raises(OperatorError, match="This host has no release 7: 'tammactl releases'"):
        known.entry(7)
    known.note(entry(7))
    path = tmp_path / history.DIRECTORY / "7" / "release.json"
    path.write_text('{"number": 7}', encoding="utf-8")
    with pytest.raises(OperatorError, match=r"release\.json cannot be read .*: remove "):
        known.entries()


def test_one_that_was_about_to_come_or_to_go_is_passed_over(stack: Path) -> None:
    known = History(str(stack))
    known.keep(entry(1))
    half = stack / history.DIRECTORY / "2" / "files"
    half.mkdir(parents=True)
    (half / "of-another-run").touch()
    assert known.entries() == [entry(1)]
    assert known.next_number() == 2
    known.keep(entry(2))
    assert "of-another-run" not in {item.path for item in known.files(2)}


def test_the_files_of_a_release_hold_no_secret(stack: Path) -> None:
    known = History(str(stack))
    known.keep(entry(1))
    for path in (stack / history.DIRECTORY).rglob("*"):
        assert path.is_dir() or CANARY not in path.read_text(encoding="utf-8"), path
        assert os.stat(path).st_mode & 0o077 == 0 or path.is_dir()
    paths = {item.path for item in known.files(1)}
    assert paths == {".env", "docker-compose.yml", images.OVERLAY, "edge/upstreams/api"}
    known.forget(1)
    assert known.entries() == []
    assert known.files(1) == []


def test_a_release_comes_back_with_the_secrets_of_today(stack: Path) -> None:
    known = History(str(stack))
    known.keep(entry(1))
    write(str(stack), [File(secret_files.STORE, "POSTGRES_PASSWORD=today\n", 0o600)])
    present = base(stack)._replace(digests={"api:latest": "api:latest@sha256:b"}, pull_always=True)
    found = history.release_of(present, known.files(1), history.hidden_files(str(stack)))
    assert found.settings == {"TAMMA_VERSION": "0.2.0"}
    assert found.secrets == {"POSTGRES_PASSWORD": "today"}
    assert found.compose_files == ["docker-compose.yml"]
    assert found.pinned == {"api": "api:1@sha256:a"}
    assert found.digests == {}, "a release that goes back keeps its own images, whatever their tags mean now"
    assert not found.pull_always
    assert {item.path: (item.mode, item.initial) for item in found.files} == {
        "docker-compose.yml": (0o644, False),
        "edge/upstreams/api": (0o644, True),
        "engine/key": (0o600, False),
    }


def test_other_secrets_make_no_other_release(stack: Path) -> None:
    def now(secret: str) -> str:
        with (stack / ".env").open("a", encoding="utf-8") as file:
            file.write("POSTGRES_SECRETS_HASH=%s\n" % secret)
        return history.content(history.open_files(str(stack)), PICTURES)

    assert now("of-one") == now("of-another")


def test_overrides_are_those_of_the_release(stack: Path) -> None:
    write(str(stack), [File(OVERRIDES, "then", 0o600)])
    record(str(stack), [*recorded(str(stack)), OVERRIDES])
    known = History(str(stack))
    known.keep(entry(1))
    write(str(stack), [File(OVERRIDES, "now", 0o600)])
    found = history.release_of(base(stack), known.files(1), history.hidden_files(str(stack)))
    (overrides,) = [item for item in found.files if item.path == OVERRIDES]
    assert overrides == File(OVERRIDES, "then", 0o600, secret=True)


CONFIG = "engine/tamma.config.json"
OVERLAY = File("docker-compose.engine-config.yml", f"source: ./{CONFIG}")


@pytest.mark.parametrize("kept", [True, False])
def test_the_engines_configuration_is_that_of_the_release(stack: Path, kept: bool) -> None:
    """Of one that was kept before it was, it is today's."""
    env = (stack / ".env").read_text(encoding="utf-8")
    write(str(stack), [OVERLAY, File(".env", env.replace("COMPOSE_FILE=", f"COMPOSE_FILE={OVERLAY.path}:"), 0o600)])
    write(str(stack), [File(CONFIG, "then", 0o600)])
    record(str(stack), [*recorded(str(stack)), OVERLAY.path, CONFIG])
    known = History(str(stack))
    known.keep(entry(1))
    write(str(stack), [File(CONFIG, "now", 0o600)])
    files = [item for item in known.files(1) if kept or item.path != CONFIG]
    found = history.release_of(base(stack), files, history.hidden_files(str(stack)))
    (config,) = [item for item in found.files if item.path == CONFIG]
    assert config.content == ("then" if kept else "now")
    assert (config.mode, config.secret) == (0o600, True)
    assert config.owner == (1001 if kept else os.getuid())
    assert oct((stack / ".tamma/releases/1/files" / CONFIG).stat().st_mode & 0o777) == "0o600"


def test_a_release_without_the_engines_configuration_has_none(stack: Path) -> None:
    known = History(str(stack))
    known.keep(entry(1))
    write(str(stack), [File(CONFIG, "now", 0o600)])
    record(str(stack), [*recorded(str(stack)), CONFIG])
    found = history.release_of(base(stack), known.files(1), history.hidden_files(str(stack)))
    assert CONFIG not in {item.path for item in found.files}


def test_what_is_made_from_the_settings_is_no_hidden_file(stack: Path) -> None:
    assert [item.path for item in history.hidden_files(str(stack))] == ["engine/key"]


def test_what_makes_a_release_itself() -> None:
    files = [File("docker-compose.yml", "one"), File("edge/upstreams/api", "changes")]
    known = history.content(files, PICTURES)
    assert known == history.content(files[:1], PICTURES)
    assert known != history.content([File("docker-compose.yml", "two")], PICTURES)
    assert known != history.content(files, {"api": {"reference": "api:1", "id": "sha256:b"}})
    # The same bits under another name are the same.
    assert known == history.content(files, {"api": {"reference": "api:latest", "id": "sha256:a"}})


def test_no_secret_is_kept() -> None:
    kept = history.options(base(Path("/nowhere"))._replace(secrets={"GITHUB_TOKEN": "canary"}))
    assert set(kept) == {"generated", "deadline", "deadlines", "drain"}
    assert json.loads(json.dumps(kept)) == kept


def test_how_old_a_release_is() -> None:
    assert 0 <= history.age(entry(1, time=moments.now())) < 5
    later = time.strftime(moments.FORMAT, time.gmtime(time.time() + 3600))
    assert history.age(entry(1, time=later)) == 0


@pytest.mark.parametrize(
    ("schemas", "changed"),
    [
        ([], False),
        (["aa", "aa"], False),
        (["ab"], True),
        (["aa", "ab", "bb"], True),
        # There and back.
        (["ab", "ba"], False),
        # Somebody else has made a table.
        (["aa", "cc"], False),
        (["aa", "cd"], True),
    ],
)
def test_whether_releases_have_changed_the_schema(schemas: list[str], changed: bool) -> None:
    entries = [entry(number, before=pair[0], schema=pair[1]) for number, pair in enumerate(schemas)]
    assert history.changes_schema(entries) is changed


@pytest.mark.parametrize(
    ("since", "way"),
    [
        ([], ""),
        ([{"before": "a", "schema": "a", "guard": "tamma_guard_2"}], "not needed"),
        ([{"before": "a", "schema": "b", "guard": "tamma_guard_2", "backup": "id"}], "copy"),
        ([{"before": "a", "schema": "b", "backup": "id"}], "backup"),
        ([{"before": "a", "schema": "b"}], "none"),
        # The newest with the schema of then counts.
        ([{"before": "a", "schema": "a", "guard": "g"}, {"before": "a", "schema": "b", "backup": "id"}], "backup"),
        ([{"before": "a", "schema": "a", "backup": "id"}, {"before": "a", "schema": "b", "guard": "g"}], "copy"),
        # What a later release has copied is of another schema.
        ([{"before": "a", "schema": "b"}, {"before": "b", "schema": "c", "guard": "g", "backup": "id"}], "none"),
        # One that failed has changed nothing.
        ([{"before": "a", "schema": "a"}, {"before": "a", "schema": "b", "outcome": FAILED}], "not needed"),
        # From before there were fingerprints.
        ([{"guard": "g"}, {"before": "a", "schema": "b", "backup": "id"}], "backup"),
    ],
)
def test_from_what_the_database_could_come_back(since: list[dict[str, Any]], way: str) -> None:
    entries = [entry(1), *(entry(number, **changed) for number, changed in enumerate(since, 2))]
    assert history.way_back(entries, entries[0]) == way
    assert history.way_back(entries, entry(9, outcome=FAILED)) == ""
    serves = history.serving(entries)
    assert serves
    assert history.way_back(entries, serves) == ""


def test_nobody_goes_back_to_the_same_content(tmp_path: Path) -> None:
    known = History(str(tmp_path))
    for number, content in ((1, "a"), (2, "b"), (3, "b")):
        known.note(entry(number, content=content))
    before = known.before(3)
    assert before is not None
    assert before.number == 1
    # Of releases from before it was recorded nothing is known.
    known.note(entry(3, content=""))
    before = known.before(3)
    assert before is not None
    assert before.number == 2


def test_a_schema_that_was_restored_is_known_by_its_first_fingerprint(tmp_path: Path) -> None:
    known = History(str(tmp_path))
    assert known.original("a") == "a"
    known.same_schema("b", "a")
    known.same_schema("c", "b")
    known.same_schema("c", "")
    assert [known.original(found) for found in ("a", "b", "c", "d")] == ["a", "a", "a", "d"]
    (tmp_path / ".tamma" / "schemas.json").write_text("{", encoding="utf-8")
    assert known.original("b") == "b"
