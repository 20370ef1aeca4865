# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of PostgreSQL and RabbitMQ may follow each other, and how failed migrations are recognised."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import migrations
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.migrations import failures, unfinished, unheard, untried
from ansible_collections.meywd.tamma.plugins.module_utils.planner import STORED_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.upgrades import (
    kept_data,
    postgres,
    rabbitmq,
    together,
    version,
)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (["PG_MAJOR=15", "PG_VERSION=15.4-1.pgdg120+1"], (15,)),
        (["PG_VERSION=15.4-1.pgdg120+1"], (15, 4)),
        (["PG_MAJOR=", "PG_VERSION=16.1"], (16, 1)),
        (["PATH=/usr/bin"], ()),
        (None, ()),
    ],
)
def test_what_an_image_says_of_its_version(environment: list[str] | None, found: tuple[int, ...]) -> None:
    assert version({"Config": {"Env": environment}}, ("PG_MAJOR", "PG_VERSION")) == found


def test_no_image_says_nothing() -> None:
    assert version(None, ("PG_MAJOR",)) == ()
    assert version({"Config": None}, ("PG_MAJOR",)) == ()


@pytest.mark.parametrize(("before", "after"), [((15, 3), (15, 4)), ((15, 4), (15, 3)), ((), (16,)), ((15,), ())])
def test_postgresql_takes_the_data_of_its_own_major_version(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    assert postgres(before, after) == ""


@pytest.mark.parametrize(("before", "after"), [((15,), (16,)), ((16, 1), (15, 4))])
def test_postgresql_takes_no_other_data(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    words = postgres(before, after)
    assert words.startswith("PostgreSQL %d cannot read the data of PostgreSQL %d." % (after[0], before[0]))
    assert words.endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((3, 13, 2), (3, 13, 7), ""),
        ((3, 13, 7), (3, 13, 2), ""),
        ((3, 11, 1), (3, 12, 0), ""),
        ((3, 11, 1), (3, 13, 0), ""),
        ((3, 13, 1), (4, 0, 0), ""),
        ((4, 0, 1), (4, 1, 0), ""),
        ((3, 8, 1), (3, 11, 0), ""),
        ((), (4, 0), ""),
        ((3, 10, 1), (3, 12, 0), "by 3.11"),
        ((3, 12, 1), (4, 0, 0), "by 3.13"),
        ((3, 13, 1), (3, 12, 14), "a step back"),
        ((4, 0, 1), (3, 13, 7), "a step back"),
    ],
)
def test_rabbitmq_goes_forward_and_by_what_it_must(before: tuple[int, ...], after: tuple[int, ...], words: str) -> None:
    found = rabbitmq(before, after)
    assert words in found
    assert bool(found) == bool(words)


def test_a_rabbitmq_that_cannot_go_back_comes_alone() -> None:
    assert together((3, 12, 1), (3, 13, 0), []) == ""
    assert together((3, 13, 1), (3, 13, 7), ["tamma-api"]) == ""
    assert together((), (3, 13), ["tamma-api"]) == ""
    words = together((3, 13, 1), (4, 0), ["elsa-server", "tamma-api"])
    assert words.startswith("RabbitMQ 3.13.1 to 4.0 cannot be gone back from")
    assert "(elsa-server, tamma-api)" in words


@pytest.mark.parametrize(
    "line",
    [
        "An error occurred while migrating the database.",
        "[12:00:01 WRN] Error applying migrations, database may already be up to date",
        "Database migration failed: relation already exists",
        "Migrations: 1 failed",
        "warn: PendingModelChangesWarning: the model has changes",
    ],
)
def test_a_failed_migration_is_recognised(line: str) -> None:
    assert failures(["ready", line, "and", "what", "follows", "it", "here"]) == [line, "and", "what", "follows", "it"]


@pytest.mark.parametrize(
    "line",
    [
        "Applying migration '20260302090000_AddErrorLog'.",
        "No migrations were applied. The database is already up to date.",
        "Migrations applied: 3, failed: 0",
        "Migration completed without errors",
        "No errors while migrating",
        "2 migrations, 0 failed",
        "error: the broker went away",
        "[12:00:01 ERR] Failed executing DbCommand (5ms) [Parameters=[], CommandType='Text', CommandTimeout='30']",
    ],
)
def test_a_good_migration_is_none(line: str) -> None:
    assert failures([line]) == []


@pytest.mark.parametrize(
    ("started", "lines", "level", "why"),
    [
        (100.0, [], "", "has written nothing since its start"),
        (100.0, ["Now listening"], "Fatal", "writes nothing below Fatal"),
        (100.0, ["Now listening"], "Error", "writes nothing below Error"),
        (100.0, ["Now listening"], "Warning", ""),
        # It was not started anew.
        (99.0, [], "Fatal", ""),
    ],
)
def test_when_the_log_cannot_tell_of_a_failed_migration(started: float, lines: list[str], level: str, why: str) -> None:
    assert unheard(started, lines, level, 100) == why


FAILED = "[12:00:01 WRN] Error applying migrations, database may already be up to date"


@pytest.mark.parametrize(
    "reason",
    [
        "Npgsql.NpgsqlException (0x80004005): Failed to connect to 172.20.0.2:5432",
        "Npgsql.PostgresException (0x80004005): 57P03: the database system is starting up",
        "Npgsql.PostgresException (0x80004005): 53300: sorry, too many clients already",
        "Npgsql.NpgsqlException (0x80004005): Exception while reading from stream",
    ],
)
def test_a_database_that_was_away_is_no_failed_migration(reason: str) -> None:
    assert failures([FAILED, reason]) == []
    assert untried([FAILED, reason])
    # Once it listens, it is a request that fails.
    assert not untried(["Now listening on: http://[::]:3000", FAILED, reason])
    assert failures([FAILED, "Npgsql.PostgresException (0x80004005): 42P07: relation exists"])


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ("tamma-api-dotnet", "tamma-api-dotnet could not reach the database when it started"),
        # It has ended for that, and started again.
        ("elsa-server", "no migration of the database failed"),
    ],
)
def test_who_could_not_migrate_is_told(monkeypatch: pytest.MonkeyPatch, service: str, told: str) -> None:
    lines = [FAILED, "Npgsql.NpgsqlException (0x80004005): Failed to connect to 172.20.0.2:5432", "Now listening on: x"]
    monkeypatch.setattr(migrations, "Database", lambda _stack: SimpleNamespace(session=lambda: nullcontext()))
    monkeypatch.setattr(migrations, "history", lambda _session: set())
    engine: Any = SimpleNamespace(
        kind="docker", logs=lambda *_given: lines, container=lambda _identifier: {"State": {}}
    )
    stack: Any = SimpleNamespace(
        writers=[service], running=lambda _name: [{"Id": "one"}], settings={}, mask=str, directory="/opt/tamma"
    )
    said: list[str] = []
    migrations.check(engine, stack, lambda _phase, words: said.append(words), 0)
    assert said[-1].startswith(told)
    assert ("'docker compose restart tamma-api-dotnet' in /opt/tamma" in said[-1]) is (service == "tamma-api-dotnet")


def test_what_fails_once_the_service_listens_is_a_request() -> None:
    started = ["Database migrations applied successfully", "Now listening on: http://[::]:3000"]
    assert failures([*started, "[12:00:09 ERR] An error occurred in MigrationController"]) == []


def test_a_migration_that_began_and_is_not_in_the_history_failed() -> None:
    lines = ["Applying migration '1_A'.", "Applying migration '2_B'.", "Applying migration '2_B'."]
    assert unfinished(lines, ["1_A", "2_B"]) == []
    assert unfinished(lines, ["1_A"]) == ["Applying migration '2_B'."]


class Volumes:
    """An engine with an image of PostgreSQL 15 and one volume; without a directory there is none."""

    def __init__(self, directory: Path | None, environment: list[str], says: str = "") -> None:
        self.says = says
        self._directory, self._environment = directory, environment

    def image(self, reference: str) -> dict[str, Any]:
        assert reference == "postgres:15"
        return {"Config": {"Env": self._environment}}

    def run(self, reference: str, argv: list[str], binds: list[str]) -> tuple[int, list[str]]:
        assert (reference, argv, binds) == ("postgres:15", ["postgres", "--version"], [])
        return 0, [f"postgres (PostgreSQL) {self.says} (Debian 15.3-0)"] if self.says else ["not found"]

    def volume(self, name: str) -> str:
        assert name == "tamma_postgres-data"
        return str(self._directory or "")


@pytest.mark.parametrize(
    ("mark", "text", "image", "words"),
    [
        (
            "PG_VERSION",
            "16\n",
            ["PG_MAJOR=15"],
            "The volume tamma_postgres-data holds the data of PostgreSQL 16, which",
        ),
        (
            "18/docker/PG_VERSION",
            "18\n",
            ["PG_MAJOR=15"],
            "holds the data of PostgreSQL 18, which PostgreSQL 15 cannot",
        ),
        ("PG_VERSION", "15\n", ["PG_MAJOR=15"], ""),
        ("PG_VERSION", "what\n", ["PG_MAJOR=15"], ""),
        ("other", "16\n", ["PG_MAJOR=15"], ""),
        ("PG_VERSION", "16\n", ["OTHER=15"], ""),
    ],
)
def test_data_that_the_image_cannot_read_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, text: str, image: list[str], words: str
) -> None:
    # An odd name, and a file of this sort where somebody works.
    directory = tmp_path / "volumes[1]"
    (directory / mark).parent.mkdir(parents=True)
    (directory / mark).write_text(text)
    monkeypatch.chdir(directory)
    labels = {STORED_LABEL: "POSTGRES_PASSWORD"}
    service = Service("postgres", "postgres:15", 1, {}, [], ["tamma_postgres-data"], labels, "")
    project = Project("tamma", {"postgres": service}, [])
    engine: Any = Volumes(directory, image)
    found = kept_data(engine, project)
    assert len(found) == bool(words)
    assert all(words in one and one.endswith("Nothing was changed.") for one in found)
    # An image of somebody else may say nothing of itself, and its program does.
    silent: Any = Volumes(directory, [], "15.3")
    assert kept_data(silent, project) == found or image == ["OTHER=15"]
    absent: Any = Volumes(None, image)
    assert kept_data(absent, project) == []
    # An external server has its place.
    assert kept_data(engine, Project("tamma", {}, [])) == []


@pytest.mark.parametrize("below", ["", "18/docker"])
@pytest.mark.parametrize("what", ["pipe", "link", "endless", "directory", "long"])
def test_what_somebody_has_planted_in_the_volume_is_not_followed(tmp_path: Path, below: str, what: str) -> None:
    volume, elsewhere = tmp_path / "volume", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "PG_VERSION").write_text("16\n")
    place = volume / below
    place.mkdir(parents=True)
    mark = place / "PG_VERSION"
    if what == "pipe":
        os.mkfifo(mark)
    elif what == "link":
        mark.symlink_to(elsewhere / "PG_VERSION")
    elif what == "endless":
        mark.symlink_to("/dev/zero")
    elif what == "directory":
        mark.mkdir()
    else:
        mark.write_text("9" * 100000)
    # A whole directory may be one of somebody else as well.
    (volume / "17").symlink_to(elsewhere)
    labels = {STORED_LABEL: "POSTGRES_PASSWORD"}
    service = Service("postgres", "postgres:15", 1, {}, [], ["tamma_postgres-data"], labels, "")
    engine: Any = Volumes(volume, ["PG_MAJOR=15"])
    found = kept_data(engine, Project("tamma", {"postgres": service}, []))
    assert found == []
