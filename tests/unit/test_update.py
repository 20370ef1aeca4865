# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions of an update that need no engine: its journal, how a release comes, and what is said of a failure."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import (
    audit,
    history,
    images,
    journals,
    on_host,
    operations,
    planner,
    restore,
    rotation,
    services,
    update,
)
from ansible_collections.meywd.tamma.plugins.module_utils.compose import parse_project
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Planned
from ansible_collections.meywd.tamma.plugins.module_utils.edge import CONFIG_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, FileChange, record, write
from ansible_collections.meywd.tamma.plugins.module_utils.hooks import Hooks
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Refused
from ansible_collections.meywd.tamma.plugins.module_utils.planner import Plan
from ansible_collections.meywd.tamma.plugins.module_utils.update import Change, Journal, Update
from tests.unit.test_history import base, entry

JOURNAL = Journal(4, 3, "guarded", "tamma_guard_4", "", "abc", update.COPIED)
SERVICES: dict[str, Any] = {
    "postgres": {
        "image": "postgres:15",
        "labels": {"tamma.stored-settings": "POSTGRES_PASSWORD"},
    },
    "tamma-api-dotnet": {"image": "api:2"},
    "tamma-api": {"image": "ts:2"},
    "tamma-engine": {"image": "engine:2"},
    "tamma-dashboard": {"image": "dashboard:2"},
}


def begin(directory: Path, journal: Journal = JOURNAL) -> None:
    path = directory / update.JOURNAL
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(journal._asdict()), encoding="utf-8")


class Known(Update):
    """An update of a host whose database says what the test wants."""

    def __init__(self, directory: Path, mode: str = "auto", schema: str = "", there: bool = True) -> None:
        def no_deployment(*_: object) -> Any:
            raise AssertionError("nothing is deployed here")

        settings = update.Settings(mode=mode)
        engine: Any = Containers(*SERVICES)
        super().__init__(no_deployment, base(directory), engine, "", lambda *_: None, settings)
        self._answer = schema
        self._there = there
        #: Whether an edge runs, which can let requests wait.
        self.edge = False

    def _stack_if_there(self) -> Any:
        return _Stack(self._there, self.edge)

    def _schema(self) -> str:
        return self._answer

    def mode(self, *replaced: str, current: Any = None, change: Change | None = None, recreates: str = "") -> str:
        project = parse_project({"name": "tamma", "services": SERVICES}, dict.fromkeys(SERVICES, "0"))
        steps = [planner.Change(recreates, "recreate", "its definition changed")] if recreates else []
        planned = Planned([], [], {}, project, Plan([], [], steps, []), None, replaced)
        return self._mode(planned, current, change or Change())


def cut_off(directory: Path, monkeypatch: pytest.MonkeyPatch, journal: Journal = JOURNAL) -> Known:
    """The update of a host on which release 3 serves, and release 4 was cut off; its audit log is beside it."""
    monkeypatch.setattr(audit, "DIRECTORY", str(directory / "log"))
    known = Known(directory)
    for item in (entry(3), entry(4, outcome=history.RUNNING)):
        known.history.note(item)
    begin(directory, journal)
    return known


class _Stack:
    """A stack with a database of its own, or one outside."""

    def __init__(self, own: bool, edge: bool) -> None:
        services = {**SERVICES, "edge": {"image": "caddy:2", "labels": {CONFIG_LABEL: "edge"}}} if edge else SERVICES
        self.project = parse_project({"name": "tamma", "services": services}, dict.fromkeys(services, "0"))
        self.postgres = self.project.services["postgres"] if own else None
        self.rabbitmq = None
        self.writers = ["tamma-api-dotnet"]

    def running(self, service: str) -> list[str]:
        return [service]


class Containers:
    """An engine with containers of these services; the id of an image is its name."""

    def __init__(self, *services: str) -> None:
        self._listed = [{"Labels": {SERVICE_LABEL: name}} for name in services]

    def containers(self, _project: str) -> list[dict[str, Any]]:
        return self._listed

    def image(self, reference: str) -> dict[str, str]:
        return {"Id": reference}


@pytest.mark.parametrize(
    ("mode", "edge", "replaced", "words"),
    [
        ("auto", True, ["tamma-dashboard"], "rolling: no service that writes to the database gets another image"),
        (
            "auto",
            False,
            ["tamma-dashboard"],
            "another image; without an edge tamma-dashboard are away for as long as their",
        ),
        ("rolling", True, ["tamma-api-dotnet"], "rolling, as asked for: tamma-api-dotnet get another image, and no"),
        ("auto", True, ["tamma-api-dotnet"], "guarded: tamma-api-dotnet get another image; the database is copied"),
        (
            "auto",
            True,
            ["tamma-api-dotnet"],
            "copied inside its server (2.0 GiB), about 20 s, and requests wait at the edge for",
        ),
        ("auto", True, ["tamma-api-dotnet"], "who waits longer than 60 s gets 503"),
        ("guarded", False, [], "guarded: as asked for; the database is copied"),
        ("guarded", False, [], "(2.0 GiB), about 20 s, and without an edge tamma-api-dotnet are away for that"),
    ],
)
def test_what_a_release_costs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, edge: bool, replaced: list[str], words: str
) -> None:
    monkeypatch.setattr(
        update, "Database", lambda _stack: SimpleNamespace(size=lambda: 2 << 30, affected=list, obstacles=list)
    )
    known = Known(tmp_path, mode=mode)
    monkeypatch.setattr(known, "_stack", lambda: _Stack(True, edge))
    writing = [name for name in replaced if name != "tamma-dashboard"]
    steps = [planner.Change(name, "recreate", "its image changed") for name in replaced]
    project = _Stack(True, edge).project
    planned = cast(Any, SimpleNamespace(plan=Plan([], [], steps, []), replaced_writers=writing, project=project))
    came = known._mode(planned, entry(1), Change())
    assert words in known._what_happens(came, planned, writing, Change())


@pytest.mark.parametrize(("version", "asks"), [("0.3.0", False), ("latest", True)])
def test_another_version_changes_nothing_else(tmp_path: Path, version: str, asks: bool) -> None:
    env = "COMPOSE_FILE=docker-compose.yml:%s\nTAMMA_VERSION=0.2.0\nGITHUB_OWNER=alice\n" % images.OVERLAY
    pinned = images.overlay({"tamma-api-dotnet": "api:2@sha256:a"})
    files = [File(".env", env, 0o600), File("docker-compose.yml", ""), pinned]
    write(str(tmp_path), files)
    record(str(tmp_path), [item.path for item in files])
    known = Known(tmp_path)
    assert known.present().pinned == {"tamma-api-dotnet": "api:2@sha256:a"}
    found = known.of_version(version)
    assert found.settings == {"TAMMA_VERSION": version, "GITHUB_OWNER": "alice"}
    assert (found.compose_files, found.pinned, found.pull_always) == (["docker-compose.yml"], {}, asks)


def test_the_journal_is_read_back(tmp_path: Path) -> None:
    assert update.pending(str(tmp_path)) is None
    begin(tmp_path)
    assert update.pending(str(tmp_path)) == JOURNAL


@pytest.mark.parametrize("text", ["{", "[]", '{"number": 4}', '{"number": 4, "other": 1}'])
def test_a_journal_that_says_nothing_is_said(tmp_path: Path, text: str) -> None:
    begin(tmp_path)
    (tmp_path / update.JOURNAL).write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError, match="does not tell how far the last update came"):
        update.pending(str(tmp_path))


def test_what_was_cut_off_is_known_by_its_journal(tmp_path: Path) -> None:
    assert on_host.unfinished(str(tmp_path)) == []
    begin(tmp_path)
    assert on_host.unfinished(str(tmp_path)) == [on_host.UPDATE]
    rotation.note(str(tmp_path), rotation.Journal({}, {"POSTGRES_PASSWORD": "x"}))
    assert on_host.unfinished(str(tmp_path)) == [on_host.UPDATE, on_host.ROTATION]
    way = restore.Journal("id", "local", [], "tamma_restoring", "tamma_before_x", "x", restore.FORWARD)
    (tmp_path / restore.JOURNAL).write_text(json.dumps(way._asdict()), encoding="utf-8")
    assert set(on_host.unfinished(str(tmp_path))) == set(on_host.JOURNALS)


def test_how_a_release_comes(tmp_path: Path) -> None:
    known = Known(tmp_path)
    assert known.mode("tamma-api-dotnet") == update.FIRST
    assert known.mode("tamma-api-dotnet", current=entry(1)) == update.GUARDED
    assert known.mode("tamma-api", current=entry(1)) == update.GUARDED, "a later release may let it use the database"
    assert known.mode("tamma-dashboard", "postgres", current=entry(1)) == update.ROLLING
    assert known.mode(current=entry(1)) == update.ROLLING
    assert Known(tmp_path, mode=update.ROLLING).mode("tamma-api-dotnet", current=entry(1)) == update.ROLLING
    assert Known(tmp_path, mode=update.GUARDED).mode(current=entry(1)) == update.GUARDED
    moving = Known(tmp_path, there=False)
    assert moving.mode("tamma-api-dotnet", current=entry(1)) == update.ROLLING, "it moves elsewhere"
    known.edge = True
    assert known.mode(current=entry(1), recreates="tamma-api-dotnet") == update.ROLLING
    assert known.mode(current=entry(1), recreates="postgres") == update.GUARDED, "requests wait for the database"
    known.edge = False
    assert known.mode(current=entry(1), recreates="postgres") == update.ROLLING, "nobody could let them wait"


def test_who_may_need_long_to_stop_does_so_before_requests_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Known(tmp_path)
    done: list[str] = []

    class Group:
        def __init__(self, _stack: object, names: list[str], *_: object) -> None:
            self._names = " ".join(names)

        def stop(self, _seconds: int | None = None) -> None:
            done.append("stop " + self._names)

        def stop_unasked(self, _seconds: int | None = None) -> None:
            done.append("stop of " + self._names)

    monkeypatch.setattr(update.services, "Group", Group)
    monkeypatch.setattr(known, "_hold", lambda _stack: done.append("hold"))
    known._stop_writers(cast(Any, SimpleNamespace(writers=["elsa-server", "tamma-engine"])))
    assert done == ["stop of elsa-server tamma-engine", "hold", "stop elsa-server tamma-engine"]


def test_a_stack_that_was_taken_down_is_guarded_when_it_comes_back_with_other_images(tmp_path: Path) -> None:
    known = Known(tmp_path)
    known._engine = cast(Any, Containers())
    same = entry(1, images={name: {"reference": "", "id": known_as["image"]} for name, known_as in SERVICES.items()})
    assert known.mode(*SERVICES, current=same) == update.ROLLING
    other = entry(1, images={**same.images, "tamma-api-dotnet": {"reference": "", "id": "api:1"}})
    assert known.mode(*SERVICES, current=other) == update.GUARDED


def test_a_rollback_past_a_migration_is_guarded_whatever_is_said(tmp_path: Path) -> None:
    known = Known(tmp_path, mode=update.ROLLING)
    known._make = lambda *_: cast(Any, None)
    known.history.note(entry(1, schema="old"))
    known.history.note(entry(2, before="old", schema="new"))
    assert known.mode(current=entry(2), change=known._going_back(1)[1]) == update.GUARDED
    known.history.note(entry(2, before="other", schema="other"))
    assert known.mode(current=entry(2), change=known._going_back(1)[1]) == update.ROLLING


def test_what_is_gone_back_to(tmp_path: Path) -> None:
    known = Known(tmp_path)
    with pytest.raises(OperatorError, match="no release before the one that serves"):
        known.target()
    for item in (entry(1), entry(2, outcome=history.FAILED), entry(3)):
        known.history.note(item)
    assert known.target().number == 1
    assert known.target(3).number == 3
    with pytest.raises(OperatorError, match="Release 2 never served"):
        known.target(2)
    with pytest.raises(OperatorError, match="This host has no release 9"):
        known.target(9)


class Server:
    """A server with some databases."""

    def __init__(self, *names: str) -> None:
        self.exists = set(names).__contains__


def test_which_copy_of_the_database_belongs_to_a_release(tmp_path: Path) -> None:
    known = Known(tmp_path)
    for item in (
        entry(1, schema="a"),
        entry(2, before="a", schema="a", guard=""),
        entry(3, before="a", schema="b", guard="guard_3"),
        entry(4, before="b", schema="c", guard="guard_4", outcome=history.FAILED),
        entry(5, before="b", schema="c", guard="guard_5"),
    ):
        known.history.note(item)
    server: Any = Server("guard_3", "guard_5")
    assert known._copy_of(server, Change(target=known.history.entry(1))) == ("guard_3", known.history.entry(3))
    assert known._copy_of(server, Change(target=known.history.entry(3)))[0] == "guard_5"
    with pytest.raises(OperatorError, match="the copy from then is gone"):
        known._copy_of(server, Change(target=known.history.entry(5)))
    nothing: Any = Server()
    with pytest.raises(OperatorError, match="nothing was changed"):
        known._copy_of(nothing, Change(target=known.history.entry(1)))
    # One that was used is gone, and a newer one with that schema has more of what was written.
    known.history.note(entry(3, before="a", schema="b"))
    for item in (entry(6, before="c", schema="a", guard=""), entry(7, before="a", schema="b", guard="guard_7")):
        known.history.note(item)
    newer: Any = Server("guard_5", "guard_7")
    assert known._copy_of(newer, Change(target=known.history.entry(1))) == ("guard_7", known.history.entry(7))
    for number in (6, 7):
        known.history.forget(number)
    # A backup from then does as well.
    known.history.note(entry(3, before="a", schema="b", backup="then"))
    assert known._copy_of(nothing, Change(target=known.history.entry(1))) == ("", known.history.entry(3))
    with pytest.raises(OperatorError, match="the copy from then is gone"):
        known._copy_of(nothing, Change(target=known.history.entry(3)))


@pytest.mark.parametrize("signed", [False, True])
def test_a_rollback_takes_the_backup_that_was_taken_before_backups_were_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    asked: list[Any] = []

    class Restoring:
        def __init__(self, *_: object, **more: object) -> None:
            asked.append(more)

        def fill_beside(self, _store: object, which: str, name: str) -> None:
            asked.append((which, name))

    monkeypatch.setattr(restore, "Restoring", Restoring)
    monkeypatch.setattr(update, "configuration", lambda _project: None)
    monkeypatch.setattr(operations.Operations, "store_with", lambda _self, _which: None)
    known = Known(tmp_path)
    monkeypatch.setattr(known, "_stack", lambda: None)
    server: Any = SimpleNamespace(called=lambda name: name)
    known._make_copy(server, entry(3, backup="then")._replace(signed=signed))
    assert asked[0]["known_by_id"] == ("" if signed else "then")
    assert asked[1][0] == "then"
    assert known.history.entry(3).guard == asked[1][1]


def test_what_the_next_release_goes_by_is_plain(tmp_path: Path) -> None:
    kept = update.Settings(hooks=Hooks(before="true"), by="alice", reason="because").kept()
    assert json.loads(json.dumps(kept)) == kept
    again = update.Settings()._replace(**{**kept, "hooks": Hooks(**kept["hooks"])})
    assert again == update.Settings(hooks=Hooks(before="true"))
    assert tmp_path.exists()


def test_a_resume_that_fails_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = cut_off(tmp_path, monkeypatch)

    def fails(_journal: Journal, _deploys: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(known, "_go_back", fails)
    with pytest.raises(update.Stuck, match=r"the way back to release 3 failed: .*No space left") as stuck:
        known.resume()
    assert "type 'tammactl resume'" in stuck.value.message
    assert update.pending(str(tmp_path)) == JOURNAL
    (line,) = audit.lines("tamma")
    assert (line["what"], line["from"], line["to"], line["outcome"]) == ("resume", 3, 4, "stuck")


def test_a_boot_that_tries_on_and_on_tells_of_the_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = cut_off(tmp_path, monkeypatch)
    told = tmp_path / "told"
    known._settings = known._settings._replace(hooks=Hooks(failed=f"echo $TAMMA_OUTCOME >> {told}"))
    for problem in ("tamma-api-1 was not ready: starting.", "tamma-api-2 was not ready: unhealthy."):

        def fails(_journal: Journal, _deploys: bool, problem: str = problem) -> None:
            raise OperatorError(problem)

        monkeypatch.setattr(known, "_go_back", fails)
        with pytest.raises(update.Stuck):
            known.resume()
    assert [line["problem"] for line in audit.lines("tamma")] == ["tamma-api-1 was not ready: starting."]
    assert told.read_text(encoding="utf-8").split() == ["stuck"]


def test_whoever_interrupts_the_way_back_as_well_is_told_what_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = cut_off(tmp_path, monkeypatch)

    def interrupted(_journal: Journal) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(known, "_go_back", interrupted)
    with pytest.raises(
        update.Stuck, match=r"Going back to release 3 failed as well: The update was interrupted"
    ) as stuck:
        known._recover(JOURNAL, KeyboardInterrupt())
    assert "type 'tammactl resume'" in stuck.value.message
    assert update.pending(str(tmp_path)) == JOURNAL


@pytest.mark.parametrize(("came", "outcome"), [(True, "rolled_back"), (False, "stuck")])
def test_a_resume_that_goes_back_leaves_a_failed_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, came: bool, outcome: str
) -> None:
    """At once, or when the deploy that follows begins."""
    assert not Known(tmp_path).resume()
    known = cut_off(tmp_path, monkeypatch)
    monkeypatch.setattr(known, "_go_back", lambda _journal, _deploys: came)
    assert known.resume()
    assert (update.pending(str(tmp_path)) is None) == came
    known._begin(JOURNAL._replace(number=5), entry(5, outcome=history.RUNNING))
    assert cast(update.Journal, update.pending(str(tmp_path))).number == 5
    assert known.history.entry(4).outcome == history.FAILED
    assert known.history.current() == known.history.entry(3)
    assert [line["outcome"] for line in audit.lines("tamma")] == [outcome]


def test_a_release_that_cannot_be_written_down_leaves_what_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way back that waits for a deploy is not forgotten because the disk is full when that begins."""
    known = cut_off(tmp_path, monkeypatch)
    kept = tmp_path / ".tamma" / "before" / ".env"
    kept.parent.mkdir()
    kept.write_text("TAMMA_VERSION=0.2.0\n", encoding="utf-8")

    def full(_journal: update.Journal) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(known, "_note", full)
    with pytest.raises(OSError, match="No space"):
        known._begin(JOURNAL._replace(number=5), entry(5, outcome=history.RUNNING))
    assert update.pending(str(tmp_path)) == JOURNAL
    assert kept.exists()


@pytest.mark.parametrize("step", [update.STOPPED, update.SERVING])
def test_no_secret_is_rotated_while_a_release_is_not_complete(tmp_path: Path, step: str) -> None:
    known = Known(tmp_path)
    begin(tmp_path, JOURNAL._replace(step=step))

    work: Any = SimpleNamespace(rotates=True, redactor=SimpleNamespace(mask=str))
    with pytest.raises(OperatorError, match=r"Release 4 was cut off on this host.*No secret was changed"):
        known._deploy(work, update.Change())


def test_no_secret_is_rotated_while_a_restore_is_not_complete(tmp_path: Path) -> None:
    """What completes it needs the password of the database, and comes before the rotation does."""
    known = Known(tmp_path)
    journal = restore.Journal("b", "local", ["database"], "tamma_restoring", "tamma_before", "s", restore.BACK)
    journals.note(str(tmp_path), restore.JOURNAL, journal)

    work: Any = SimpleNamespace(rotates=True, redactor=SimpleNamespace(mask=str))
    with pytest.raises(OperatorError, match=r"A restore was cut off on this host.*No secret was changed"):
        known._deploy(work, update.Change())


class Kept:
    """A server. there: whether the stack's database is. schema: also the code of an error."""

    name = "tamma"

    def __init__(self, there: bool, schema: str) -> None:
        self._there, self._schema = there, schema

    def exists(self, _name: str) -> bool:
        return self._there

    def schema(self) -> str:
        if len(self._schema) == 5:
            raise Refused("no", self._schema)
        return self._schema


@pytest.mark.parametrize(
    ("there", "schema", "changed"), [(True, "s", False), (True, "t", True), (True, "XX000", True), (False, "s", True)]
)
def test_a_database_that_is_gone_or_cannot_be_read_was_changed(there: bool, schema: str, changed: bool) -> None:
    assert update._changed(cast(Any, Kept(there, schema)), JOURNAL._replace(schema="s")) == changed


def test_a_server_that_cannot_answer_now_is_asked_again_another_time() -> None:
    with pytest.raises(Refused):
        update._changed(cast(Any, Kept(True, "53100")), JOURNAL)


class Ill:
    """A deployment whose services do not come up. written: whether its files are in place."""

    def __init__(self, written: bool) -> None:
        self._changes = [] if written else [FileChange(".env", "update", "")]

    def plan(self) -> Any:
        return Planned([], self._changes, {}, cast(Any, None), Plan([], [], [], []), None)

    def prepare(self, planned: Any) -> Any:
        return planned

    def carry_out(self, _planned: Any) -> None:
        raise OperatorError("tamma-api did not come up.")


@pytest.mark.parametrize(("deploys", "written"), [(False, True), (True, False)])
def test_a_way_back_that_fails_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deploys: bool, written: bool
) -> None:
    known = Known(tmp_path)
    monkeypatch.setattr(known, "_before", lambda: None)
    monkeypatch.setattr(known, "_make", lambda *_: Ill(written))
    with pytest.raises(OperatorError, match="did not come up"):
        known._go_back(JOURNAL._replace(step=update.PREPARED), deploys)


def test_a_deploy_may_correct_what_keeps_services_from_coming_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Known(tmp_path)
    monkeypatch.setattr(known, "_before", lambda: None)
    monkeypatch.setattr(known, "_make", lambda *_: Ill(written=True))
    assert not known._go_back(JOURNAL._replace(step=update.PREPARED), deploys=True)


class _Held:
    """A hold that an operator which died has left on these services."""

    def __init__(self, *names: str) -> None:
        self.held = list(names)
        self.released: dict[str, list[str]] = {}
        self.closed = False

    def release(self, serving: dict[str, list[str]], _seconds: float) -> int:
        self.released = serving
        return 0

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("held", [["tamma-api-dotnet"], []])
def test_what_a_dead_operator_holds_is_let_through_when_the_way_back_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: list[str]
) -> None:
    known, hold = Known(tmp_path), _Held(*held)
    monkeypatch.setattr(known, "_before", lambda: None)
    monkeypatch.setattr(known, "_make", lambda *_: Ill(written=False))
    monkeypatch.setattr(known, "_stack", lambda: _Stack(True, True))
    monkeypatch.setattr(known, "_new_hold", lambda _stack: hold)
    monkeypatch.setattr(services.Group, "ready", lambda _self: {"tamma-api-dotnet": ["one"]})
    with pytest.raises(OperatorError, match="did not come up"):
        known._go_back(JOURNAL._replace(step=update.RETURNED))
    assert hold.released == {name: ["one"] for name in held}
    assert hold.closed == bool(held)


def test_one_repository_is_enough_for_an_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known(tmp_path)
    monkeypatch.setattr(update, "configuration_or_none", lambda _project: SimpleNamespace(repositories=["a", "b"]))
    taken = [{"id": "", "problem": "It does not answer."}, {"id": "then", "problem": ""}]

    def fails(_self: object, _reason: str) -> None:
        raise OperatorError("No backup in offsite: It does not answer.", taken=taken)

    monkeypatch.setattr(operations.Operations, "__init__", lambda *_: None)
    monkeypatch.setattr(operations.Operations, "take", fails)
    assert known._back_up(4) == "then"
    del taken[1]
    with pytest.raises(
        OperatorError, match=r"No backup in offsite.*\n.*nothing was changed.*tamma_stack_update_backup"
    ):
        known._back_up(4)


def test_what_is_left_of_a_release_that_serves_keeps_no_other_one_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files may be what is wrong, and those of the next deploy right."""
    known = cut_off(tmp_path, monkeypatch, JOURNAL._replace(step=update.SERVING))

    interruption: KeyboardInterrupt | None = None

    def fails(*_: object) -> None:
        raise OperatorError("the edge does not take its configuration") from interruption

    monkeypatch.setattr(known, "_complete", fails)
    monkeypatch.setattr(known, "_make", lambda *_: known)
    monkeypatch.setattr(known, "plan", lambda: None, raising=False)
    monkeypatch.setattr(known, "_serves", lambda item, _planned: item._replace(outcome=history.SERVES))
    monkeypatch.setattr(known, "_retain", lambda: None)
    with pytest.raises(update.Stuck, match="completing it failed: the edge does not take") as stuck:
        known.resume()
    assert stuck.value.facts["outcome"] == update.INCOMPLETE
    assert update.pending(str(tmp_path)) is not None
    monkeypatch.setattr(known, "_stack_or_none", lambda: None)
    with pytest.raises(update.Stuck, match="completing it failed"):
        known.resume(deploys=True)
    monkeypatch.setattr(known, "_stack_or_none", lambda: _Stack(True, False))
    interruption = KeyboardInterrupt()
    with pytest.raises(update.Stuck, match="completing it failed"):
        known.resume(deploys=True)
    interruption = None
    assert known.resume(deploys=True)
    assert update.pending(str(tmp_path)) is not None, "until a deploy takes its place"
    known._begin(JOURNAL._replace(number=5), entry(5, outcome=history.RUNNING))
    assert cast(update.Journal, update.pending(str(tmp_path))).number == 5
    known.history.forget(5)
    assert [line["outcome"] for line in audit.lines("tamma")][-1] == history.SERVES
    assert [(item.number, item.outcome) for item in known.history.entries()] == [
        (3, history.SERVES),
        (4, history.SERVES),
    ]
    assert known.history.entry(4).guard == JOURNAL.guard


def test_what_was_ready_for_an_update_that_never_began_is_forgotten(tmp_path: Path) -> None:
    known = Known(tmp_path)
    for item in (entry(3), entry(4, outcome=history.RUNNING)):
        known.history.note(item)
    (tmp_path / ".tamma" / "before").mkdir()
    (tmp_path / ".tamma" / "before" / ".env").write_text("POSTGRES_PASSWORD=x", encoding="utf-8")
    socket = tmp_path / "edge" / "upstreams" / "tamma-api.socket"
    socket.parent.mkdir(parents=True)
    socket.touch()
    assert not known.resume()
    assert known.history.entries() == [entry(3)]
    assert not (tmp_path / ".tamma" / "before").exists()
    assert not socket.exists()
