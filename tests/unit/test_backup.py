# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding backups among snapshots, and telling how far one is."""

from __future__ import annotations

import datetime
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils import backup
from ansible_collections.meywd.tamma.plugins.module_utils.backup import Backup, Meter, choose, find, manifest
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository, Restic
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

IDS = ("20260101T023000Z-aaaa", "20260101T143000Z-bbbb", "20260102T023000Z-cccc")

# A program in restic's place: it has what stands in snapshots.json, and files by their snapshot.
STAND_IN = """\
#!/bin/sh
case $2 in
    snapshots) cat "$RESTIC_REPOSITORY/snapshots.json" ;;
    dump) cat "$RESTIC_REPOSITORY/$4" ;;
    *) exit 9 ;;
esac
"""


def iso(identifier: str) -> str:
    return re.sub(r"(....)(..)(..)T(..)(..)(..)Z-.*", r"\1-\2-\3T\4:\5:\6Z", identifier)


@pytest.fixture
def store(tmp_path: Path) -> Restic:
    """A repository with three whole backups, and parts that a dead run has left."""
    program = tmp_path / "restic"
    program.write_text(STAND_IN, encoding="utf-8")
    os.chmod(program, 0o755)
    listed = []
    for number, identifier in enumerate(IDS):
        tags = ["stack=tamma", "backup=" + identifier]
        parts = {"database": "da%d" % number, "state": "57a7e%d" % number}
        listed += [
            {"id": item, "time": iso(identifier), "tags": [*tags, "part=" + part]} for part, item in parts.items()
        ]
        listed.append({"id": "manifest-%d" % number, "time": iso(identifier), "tags": [*tags, "part=manifest"]})
        content = {
            "format": 1,
            "id": identifier,
            "tags": ["weekly"] if number == 1 else [],
            "parts": {part: {"snapshot": item, "bytes": 1} for part, item in parts.items()},
        }
        (tmp_path / ("manifest-%d" % number)).write_text(json.dumps(content), encoding="utf-8")
    listed.append(
        {"id": "left", "time": "2026-01-03T00:00:00Z", "tags": ["stack=tamma", "backup=dead", "part=database"]}
    )
    (tmp_path / "snapshots.json").write_text(json.dumps(listed), encoding="utf-8")
    return Restic(Repository("local", str(tmp_path), "/none"), Runner(), str(program))


def change_manifest(store: Restic, number: int, **changed: Any) -> None:
    path = Path(store.repository.location) / ("manifest-%d" % number)
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changed}), encoding="utf-8")


def test_only_what_has_a_manifest_is_a_backup(store: Restic) -> None:
    assert [item.id for item in find(store, "tamma")] == list(IDS)
    assert find(store, "tamma")[0] == Backup(
        IDS[0], "2026-01-01T02:30:00Z", "local", "manifest-0", {"database": "da0", "state": "57a7e0"}
    )


@pytest.mark.parametrize(
    ("which", "number"),
    [
        ("latest", 2),
        ("", 2),
        (IDS[1], 1),
        ("20260102", 2),
        ("20260101T14", 1),
        ("tag:weekly", 1),
        ("2026-01-01", 1),
        ("2026-01-01T14:30", 1),
        ("2026-01-01T14:29:59Z", 0),
        ("2026-01-01 14:30:00", 1),
        ("2030-01-01", 2),
    ],
)
def test_a_backup_is_chosen(store: Restic, which: str, number: int) -> None:
    assert choose(store, "tamma", which).id == IDS[number]


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("20260101", r"^20260101 begins the ids of 2 backups: give more of it\.$"),
        ("tag:none", r"^No backup in the repository local has the tag none\.$"),
        ("2025-12-31", r"^There is no backup 2025-12-31 in the repository local: .+ go from 20260101T.+ to 20260102T"),
        ("yesterday", r"^There is no backup yesterday in the repository local: name an id, a tag"),
    ],
)
def test_what_cannot_be_chosen_is_refused(store: Restic, which: str, words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        choose(store, "tamma", which)


def test_a_repository_without_backups(store: Restic) -> None:
    (Path(store.repository.location) / "snapshots.json").write_text("[]", encoding="utf-8")
    with pytest.raises(
        OperatorError, match="no backup of the stack other in the repository local: check tamma_stack_name"
    ):
        choose(store, "other", "latest")


def test_a_manifest_whose_parts_are_not_there(store: Restic) -> None:
    chosen = find(store, "tamma")[0]
    assert manifest(store, chosen)["id"] == IDS[0]
    with pytest.raises(OperatorError, match="is not whole in the repository local: the part database is missing"):
        manifest(store, chosen._replace(parts={"state": "57a7e0"}))
    with pytest.raises(OperatorError, match="the part database is missing"):
        manifest(store, chosen._replace(parts={"state": "57a7e0", "database": "a07"}))


def test_an_empty_part_needs_no_snapshot(store: Restic) -> None:
    change_manifest(store, 0, parts={"volume:empty": {"snapshot": backup.NOTHING, "bytes": 0}})
    assert manifest(store, find(store, "tamma")[0])["parts"]["volume:empty"]["bytes"] == 0


def test_a_manifest_of_a_newer_collection(store: Restic) -> None:
    change_manifest(store, 0, format=99)
    with pytest.raises(OperatorError, match=r"newer version of the collection \(format 99\): update the collection"):
        manifest(store, find(store, "tamma")[0])


@pytest.mark.parametrize("text", ["", "[]", '{"parts": 7}', "no JSON"])
def test_a_manifest_that_is_none(store: Restic, text: str) -> None:
    (Path(store.repository.location) / "manifest-0").write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError, match="The manifest of the backup 20260101T023000Z-aaaa cannot be read"):
        manifest(store, find(store, "tamma")[0])


HOSTILE: dict[str, Any] = {
    "id": "20260101T023000Z-aaaa/../../../etc",
    "parts": {"volume:../../etc": {"snapshot": "da0", "bytes": 1}},
    "postgres": {"version": "15; DROP", "database": "tamma"},
    "creation": [[{"sql": "x"}]],
    "extensions": "all",
    "counts": {"public.t": "1"},
    "sequences": {"public.s": [1, True, "x"]},
    "tags": [7],
    "large_objects": "many",
}


@pytest.mark.parametrize("field", HOSTILE)
def test_a_manifest_that_nobody_of_ours_has_written(store: Restic, field: str) -> None:
    change_manifest(store, 0, **{field: HOSTILE[field]})
    with pytest.raises(OperatorError, match=f"cannot be read: its {field} is nothing that this collection writes"):
        manifest(store, find(store, "tamma")[0])


def test_only_what_is_known_of_a_manifest_is_passed_on(store: Restic) -> None:
    change_manifest(store, 0, properties=[["COMMENT ON  DATABASE ", " IS 'x'"]], more="whatever")
    found = manifest(store, find(store, "tamma")[0])
    assert found["properties"] == [["COMMENT ON DATABASE ", " IS 'x'"]]
    assert "more" not in found


def add_snapshot(store: Restic, identifier: str, number: int, **changed: Any) -> None:
    """Another manifest snapshot with the content of a backup's."""
    place = Path(store.repository.location)
    listed = json.loads((place / "snapshots.json").read_text(encoding="utf-8"))
    tags = ["stack=tamma", "backup=" + identifier, "part=manifest"]
    listed.append({"id": "manifest-%d" % number, "time": "2026-02-01T00:00:00Z", "tags": tags, **changed})
    (place / "snapshots.json").write_text(json.dumps(listed), encoding="utf-8")


def test_an_old_manifest_that_is_stored_again_is_not_the_latest(store: Restic) -> None:
    add_snapshot(store, IDS[0], 0, id="again")
    assert choose(store, "tamma", "latest").id == IDS[2]
    found = find(store, "tamma")
    assert [(item.id, item.time, item.manifests) for item in found] == [
        (one, iso(one), 2 if one == IDS[0] else 1) for one in IDS
    ]
    assert found[0].snapshot == "manifest-0"
    listed = store.snapshots({})
    assert backup.snapshots_of(listed, found[:1]) == (["manifest-0", "again"], ["da0", "57a7e0"])


def test_a_part_that_is_stored_again_changes_nothing(store: Restic) -> None:
    tags = ["stack=tamma", "backup=" + IDS[0], "part=database"]
    add_snapshot(store, IDS[0], 0, id="other", tags=tags)
    assert manifest(store, find(store, "tamma")[0])["id"] == IDS[0]
    assert "other" in backup.snapshots_of(store.snapshots({}), find(store, "tamma")[:1])[1]


@pytest.mark.parametrize("owner", ["tamma1", ""])
def test_a_backup_that_was_moved_under_another_host_is_refused(store: Restic, owner: str) -> None:
    change_manifest(store, 0, owner="tamma1")
    place = Path(store.repository.location) / "snapshots.json"
    tag = '"stack=tamma", "host=%s"'
    plain = place.read_text(encoding="utf-8")
    place.write_text(plain.replace('"stack=tamma"', tag % "tamma1"), encoding="utf-8")
    assert manifest(store, find(store, "tamma")[0])["owner"] == "tamma1"
    place.write_text(plain.replace('"stack=tamma"', tag % "tamma2"), encoding="utf-8")
    change_manifest(store, 0, owner=owner)
    with pytest.raises(OperatorError, match="as one of the host tamma2, and its manifest says that it is one of"):
        manifest(store, find(store, "tamma")[0])


@pytest.mark.parametrize(
    "identifier", ["20269901T000000Z-aaaa", "../../../etc/cron.d", "20260104T000000Z-aaaa/..", "", "-rf"]
)
def test_an_id_that_becomes_a_path_is_none(store: Restic, identifier: str) -> None:
    path = Path(store.repository.location) / "snapshots.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    tags = ["stack=tamma", "backup=" + identifier, "part=manifest"]
    path.write_text(json.dumps([*listed, {"id": "x", "time": "2026-01-04T00:00:00Z", "tags": tags}]), encoding="utf-8")
    assert [item.id for item in find(store, "tamma")] == list(IDS)


@given(st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2099, 1, 1)))
def test_a_time_to_the_second_is_itself(moment: datetime.datetime) -> None:
    text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert backup._moment(text) == text
    assert backup._moment(text[:10]) == text[:10] + "T23:59:59Z"
    # The whole minute and the whole day are meant.
    assert text <= backup._moment(text[:16]) <= backup._moment(text[:10])


@given(st.text(max_size=30))
def test_anything_else_is_no_time(text: str) -> None:
    found = backup._moment(text)
    assert found == "" or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found)


class Told:
    """Somebody who wants to know of every measurement."""

    every = 0.0

    def __init__(self) -> None:
        self.measurements: list[tuple[str, str]] = []

    def __call__(self, phase: str, words: str) -> None:
        raise AssertionError("not a measurement: %s %s" % (phase, words))

    def measured(self, phase: str, words: str) -> None:
        self.measurements.append((phase, words))


def test_progress_tells_how_far_how_fast_and_how_long() -> None:
    told = Told()
    meter = Meter(told, "dump", 4 << 20)
    meter(1 << 20)
    meter(4 << 20)
    assert [phase for phase, _words in told.measurements] == ["dump", "dump"]
    assert re.fullmatch(r"1\.0 MiB of about 4\.0 MiB, [\d.]+ \w+/s, \d+ s left", told.measurements[0][1])
    assert told.measurements[1][1].endswith(", 0 s left")


def test_plain_progress_is_told_now_and_then() -> None:
    lines: list[str] = []
    meter = Meter(lambda _phase, words: lines.append(words), "dump", 100)
    for done in range(100):
        meter(done)
    assert lines == []


def test_leftovers_of_this_stack_alone_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_SCRATCH", str(tmp_path))
    for name in ("tamma-backup-abcd1234", "tamma-restore-abcd_234", "other-backup-abcd1234", "tamma.lock"):
        (tmp_path / name).mkdir()
    backup.remove_leftovers("tamma")
    assert sorted(os.listdir(tmp_path)) == ["other-backup-abcd1234", "tamma.lock"]


def test_internal_exchanges_are_asked_for_where_a_binding_names_one() -> None:
    def binding(vhost: str, source: str, destination: str, kind: str = "queue") -> dict[str, str]:
        return {"vhost": vhost, "source": source, "destination": destination, "destination_type": kind}

    exchanges = [{"vhost": "/", "name": "known"}, {"vhost": "b", "name": "known"}]
    bindings = [
        binding("/", "known", "a queue"),
        binding("/", "amq.topic", "a queue"),
        binding("/", "known", "amq.fanout", "exchange"),
        binding("b", "known", "internal", "exchange"),
        binding("c", "internal", "a queue"),
    ]
    found = backup.vhosts_with_internal_exchanges({"exchanges": exchanges, "bindings": bindings})
    assert found == ["b", "c"]
    assert backup.vhosts_with_internal_exchanges({}) == []


def test_an_internal_exchange_becomes_a_definition() -> None:
    # As "rabbitmqctl list_exchanges --formatter json" of RabbitMQ 3.10 has them.
    common = {"type": "fanout", "auto_delete": False}
    nested = [["deep", "table", [["n", "long", 1]]], ["many", "array", [["longstr", "x"], ["bool", True]]]]
    listed = [
        {**common, "name": "", "durable": True, "internal": False, "arguments": []},
        {**common, "name": "amq.rabbitmq.trace", "durable": True, "internal": True, "arguments": []},
        {**common, "name": "passing", "durable": False, "internal": True, "arguments": []},
        {**common, "name": "rest", "durable": True, "internal": True, "arguments": [["a", "longstr", "b"], *nested]},
    ]
    assert backup.internal_exchanges(listed, "/") == [
        {
            **common,
            "name": "rest",
            "vhost": "/",
            "durable": True,
            "internal": True,
            "arguments": {"a": "b", "deep": {"n": 1}, "many": ["x", True]},
        }
    ]


def test_stacks_whose_names_begin_alike_leave_each_other_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_SCRATCH", str(tmp_path))
    for name in ("prod-backup-abcd1234", "prod-backup-eu-backup-abcd1234", "prod-restore-abcd_234"):
        (tmp_path / name).mkdir()
    assert backup.remove_leftovers("prod")
    assert [path.name for path in tmp_path.iterdir()] == ["prod-backup-eu-backup-abcd1234"]
