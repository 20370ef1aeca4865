# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is recorded of operations, who is told, and what Prometheus reads."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils import configuration as configuration_module
from ansible_collections.meywd.tamma.plugins.module_utils import lock, operations
from ansible_collections.meywd.tamma.plugins.module_utils.backup import Taken
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import Configuration, configuration
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.operations import Operations, metrics
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository

SETTINGS = Configuration(
    project="tamma",
    directory="/opt/tamma",
    engine_socket="/var/run/docker.sock",
    repositories=[Repository("local", "/var/backups/tamma", "/x"), Repository("s3", "s3:host/b", "/y")],
    keep={},
    check_subset="5%",
    notify_command="",
    notify_webhook="",
    metrics_file="",
)


class Told(list[tuple[str, str]]):
    def __call__(self, phase: str, words: str) -> None:
        self.append((phase, words))


@pytest.fixture(autouse=True)
def _records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration_module, "RECORDS", str(tmp_path / "records"))


def work(told: Told | None = None, **changed: Any) -> Operations:
    return Operations(SETTINGS._replace(**changed), told if told is not None else Told())


def test_nothing_is_recorded_at_first() -> None:
    assert work().records() == {}


def test_a_failure_does_not_hide_the_last_success(tmp_path: Path) -> None:
    with work()._recorded("drill", "local") as entry:
        entry["id"] = "x"
    with pytest.raises(OperatorError, match="broken"), work()._recorded("drill", "local"):
        raise OperatorError("It is broken.")
    found = work().records()["local"]
    assert found["drill"]["ok"] is False
    assert found["drill"]["problem"] == "It is broken."
    assert found["good_drill"]["id"] == "x"
    assert (tmp_path / "records" / "tamma" / "backups.json").stat().st_mode & 0o777 == 0o600


def test_an_interruption_is_a_failure() -> None:
    with pytest.raises(KeyboardInterrupt), work()._recorded("check", "local"):
        raise KeyboardInterrupt
    assert work().records()["local"]["check"]["problem"] == "it was interrupted"


class Away:
    """Takes a backup into the first repository and then fails."""

    failure: BaseException

    def __init__(self, *_words: object, **options: object) -> None:
        # What this host takes is signed with its own key.
        assert options["key"] == "the key of tamma"

    def take(self, _reason: str, _tags: list[str], done: Callable[[Taken], None]) -> list[Taken]:
        done(Taken("local", "20260101T120000Z-1a2b", "", 10, 5, {"database": 1.0}))
        raise self.failure


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Away]:
    monkeypatch.setattr(lock, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(operations.backup, "_SCRATCH", str(tmp_path / "run"))
    monkeypatch.setattr(operations.backup, "Taking", Away)
    monkeypatch.setattr(operations.signing, "make_key", lambda project: "the key of %s" % project)
    monkeypatch.setattr(operations.Operations, "_at_rest", lambda _self: None)
    monkeypatch.setattr("shutil.which", lambda *_words, **_options: "/usr/bin/restic")
    return Away


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (OperatorError("The dump broke off."), "The dump broke off."),
        (KeyboardInterrupt(), "it was interrupted"),
        (ZeroDivisionError("division by zero"), "it broke off (ZeroDivisionError: division by zero)"),
    ],
)
def test_whatever_ends_a_backup_is_recorded(
    away: type[Away], tmp_path: Path, failure: BaseException, told: str
) -> None:
    away.failure = failure
    notifying = work(notify_command='echo "$TAMMA_REPOSITORY $TAMMA_PROBLEM" >> %s/told' % tmp_path)
    with pytest.raises(type(failure)):
        notifying.backup("by hand")
    found = notifying.records()
    assert found["s3"]["backup"]["problem"] == told
    assert "good_backup" not in found["s3"]
    # The one that was done before stays done.
    assert found["local"]["good_backup"]["id"] == "20260101T120000Z-1a2b"
    assert (tmp_path / "told").read_text(encoding="utf-8") == "s3 %s\n" % told


@pytest.mark.parametrize(("dry", "told"), [(False, "workflows  ELSA is away.\n"), (True, "")])
def test_somebody_is_told_when_finished_workflows_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry: bool, told: str
) -> None:
    def fail(*_words: object) -> None:
        raise OperatorError("ELSA is away.")

    command = 'echo "$TAMMA_OPERATION $TAMMA_REPOSITORY $TAMMA_PROBLEM" >> %s/told' % tmp_path
    notifying = work(notify_command=command)
    monkeypatch.setattr(notifying, "_locked", lambda _operation: contextlib.nullcontext())
    monkeypatch.setattr(notifying, "_prune_workflows", fail)
    (tmp_path / "told").touch()
    with pytest.raises(OperatorError, match=r"^ELSA is away\.$"):
        notifying.prune_workflows(0.0, False, dry)
    assert (tmp_path / "told").read_text(encoding="utf-8") == told


def test_records_without_room_keep_nobody_from_being_told(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("no directory", encoding="utf-8")
    told = Told()
    notifying = work(told, notify_command="echo $TAMMA_PROBLEM >> %s/told" % tmp_path)
    with pytest.raises(OperatorError, match=r"^The disk is full\.$"), notifying._recorded("backup", "local"):
        raise OperatorError("The disk is full.")
    assert (tmp_path / "told").read_text(encoding="utf-8") == "The disk is full.\n"
    ((phase, words),) = told
    assert phase == "record"
    assert words.startswith("that it failed cannot be written down in %s: " % (tmp_path / "records" / "tamma"))
    expected = r"^The drill in local went well, but that cannot be written down in "
    with pytest.raises(OperatorError, match=expected), notifying._recorded("drill", "local"):
        pass


def test_records_that_cannot_be_read_are_begun_anew(tmp_path: Path) -> None:
    place = tmp_path / "records" / "tamma"
    place.mkdir(parents=True)
    for text in ("{", "[]", ""):
        (place / "backups.json").write_text(text, encoding="utf-8")
        assert work().records() == {}


def test_the_command_is_told_of_failures_alone(tmp_path: Path) -> None:
    command = 'echo "$TAMMA_STACK $TAMMA_OPERATION $TAMMA_REPOSITORY $TAMMA_PROBLEM" >> %s/told' % tmp_path
    notifying = work(notify_command=command)
    with notifying._recorded("backup", "local"):
        pass
    assert not (tmp_path / "told").exists()
    with notifying._recorded("backup", "s3") as entry:
        entry["problem"] = "The disk is full: 'make room'."
    assert (tmp_path / "told").read_text(encoding="utf-8") == "tamma backup s3 The disk is full: 'make room'.\n"


def test_a_command_that_fails_is_told_to_whoever_looks() -> None:
    told = Told()
    with work(told, notify_command="exit 3")._recorded("backup", "local") as entry:
        entry["problem"] = "x"
    assert told == [("notify", "the command of tamma_backup_notify_command failed: CalledProcessError")]


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that takes messages, and what it was sent."""
    received: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d" % server.server_port, received
        server.shutdown()


def test_the_webhook_is_told(webhook: tuple[str, list[dict[str, Any]]]) -> None:
    address, received = webhook
    told = Told()
    with work(told, notify_webhook=address + "/")._recorded("prune", "local") as entry:
        entry["problem"] = "x"
    assert received == [{"stack": "tamma", "operation": "prune", "repository": "local", "problem": "x"}]
    assert told == []


@pytest.mark.parametrize("address", ["/broken", "none"])
def test_a_webhook_that_does_not_take_it(webhook: tuple[str, list[dict[str, Any]]], address: str) -> None:
    told = Told()
    url = webhook[0] + address if address != "none" else "http://127.0.0.1:1/secret-token"
    with work(told, notify_webhook=url)._recorded("prune", "local") as entry:
        entry["problem"] = "x"
    ((phase, words),) = told
    assert phase == "notify"
    assert words.startswith("the webhook does not take it: ")
    assert "secret-token" not in words


def test_metrics_are_written_with_every_record(tmp_path: Path) -> None:
    path = tmp_path / "collector" / "tamma.prom"
    measuring = work(metrics_file=str(path))
    with measuring._recorded("backup", "local") as entry:
        entry.update(bytes=2048, stored_bytes=1024)
    text = path.read_text(encoding="utf-8")
    labels = '{stack="tamma",repository="local",operation="backup"}'
    assert "tamma_operation_success%s 1\n" % labels in text
    assert "tamma_operation_bytes%s 2048\n" % labels in text
    assert "tamma_operation_stored_bytes%s 1024\n" % labels in text
    assert path.stat().st_mode & 0o777 == 0o644
    with measuring._recorded("backup", "local") as entry:
        entry["problem"] = "x"
    text = path.read_text(encoding="utf-8")
    assert "tamma_operation_success%s 0\n" % labels in text
    assert "tamma_operation_bytes%s 2048\n" % labels in text
    assert [path.name for path in path.parent.iterdir()] == ["tamma.prom"]


entries = st.fixed_dictionaries(
    {"time": st.just("2026-01-01T00:00:00Z"), "ok": st.booleans(), "problem": st.text()},
    optional={"seconds": st.floats(0, 1e6), "bytes": st.integers(0), "stored_bytes": st.integers(0)},
)
every_record = st.dictionaries(
    st.sampled_from(["local", "s3"]),
    st.dictionaries(st.sampled_from(["backup", "drill", "good_backup", "good_drill", "good_check"]), entries),
)
_SAMPLE = re.compile(r"(tamma_operation_[a-z_]+)\{stack=\"tamma\",repository=\"\w+\",operation=\"(\w+)\"\} [\d.e+-]+")


@given(every_record)
def test_metrics_are_what_prometheus_reads(records: dict[str, Any]) -> None:
    text = metrics("tamma", records)
    assert text == "" or text.endswith("\n")
    declared = ""
    seen = set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            declared = line.split()[2]
            assert declared not in seen
            seen.add(declared)
        elif line.startswith("# TYPE "):
            assert line == "# TYPE %s gauge" % declared
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample.group(1) == declared
            assert not sample.group(2).startswith("good")
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)


def test_a_repository_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_words, **_options: "/usr/bin/restic")
    assert work().store().repository.name == "local"
    assert work().store("s3").repository.name == "s3"
    with pytest.raises(OperatorError, match=r"^There is no repository other: this host has local, s3\.$"):
        work().store("other")
    with pytest.raises(OperatorError, match=r"^There is no repository for backups: this host has none\.$"):
        work(repositories=[]).store()


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("rest:https://user:password@host/path", "rest:https://host/path"),
        ("rest:https://user:pass@word@host/", "rest:https://host/"),
        ("s3:https://host/bucket", "s3:https://host/bucket"),
        ("sftp:user@host:/path", "sftp:user@host:/path"),
        ("/var/backups/tamma", "/var/backups/tamma"),
    ],
)
def test_a_login_in_a_location_is_not_shown(location: str, shown: str) -> None:
    assert operations._without_login(location) == shown


def test_a_host_without_settings(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="This host knows no settings of backups for the stack tamma "):
        configuration("tamma", str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[]", '{"repositories": []}', '{"repositories": [{"strange": 1}]}'])
def test_settings_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "tamma").mkdir()
    (tmp_path / "tamma" / "backup.json").write_text(text, encoding="utf-8")
    with pytest.raises(OperatorError, match=r"backup\.json cannot be read \(.+\): run site\.yml, which writes it\.$"):
        configuration("tamma", str(tmp_path))


def test_what_was_cut_off_is_completed_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RUN", str(tmp_path / "run"))

    class Store:
        repository = SETTINGS.repositories[0]

    def fails() -> None:
        raise OperatorError("The way back fails.")

    def interrupted() -> None:
        raise OperatorError("The way back fails: it was interrupted.") from KeyboardInterrupt()

    monkeypatch.setattr(Operations, "store", lambda _self, _name="": Store())
    found = Operations(SETTINGS, Told(), resume=fails)
    calls = [lambda: found.backup("test"), found.drill, found.check, found.prune, lambda: found.discard([])]
    for call in calls:
        with pytest.raises(OperatorError, match="The way back fails"):
            call()
    # Whoever interrupts it wants nothing more to be done.
    monkeypatch.setattr(found, "_resume", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found.drill()
    # And whoever wants to know of failures is told.
    assert set(found.records()["local"]) == {"backup", "drill", "check", "prune"}
