# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tammactl: its command line, its exit statuses, and the program that is installed on hosts."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.action.tamma_backup_setup import zipapp
from ansible_collections.meywd.tamma.plugins.module_utils import (
    audit,
    backup_setup,
    configuration,
    history,
    lock,
    on_host,
    planner,
    update,
)
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Planned
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Busy, Lock
from ansible_collections.meywd.tamma.plugins.module_utils.plan_result import rollback_lines, update_lines
from tests.unit.test_history import entry

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "roles/tamma_backup/files/tammactl"


def load() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("tammactl", SOURCE / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tammactl = load()
COMMANDS: list[str] = sorted(tammactl.COMMANDS)


def parsers() -> dict[str, Any]:
    """The parser of each command."""
    (action,) = [item for item in tammactl.parser()._actions if item.dest == "command"]
    return dict(action.choices)


def options(parser: Any) -> set[str]:
    return {word for item in parser._actions for word in item.option_strings if word.startswith("--")}


# -- the command line -----------------------------------------------------------------------------


def test_every_command_is_offered_and_explained() -> None:
    assert sorted(parsers()) == COMMANDS
    for name, parser in parsers().items():
        assert len(parser.description) > 60, name
        for action in parser._actions:
            assert action.help, (name, action.dest)


def test_the_help_names_every_exit_status() -> None:
    text = tammactl.parser().format_help()
    statuses = {int(number) for number in re.findall(r"^  (\d+) ", text, re.MULTILINE)}
    assert statuses == {
        getattr(tammactl, name)
        for name in ("DONE", "FAILED", "USAGE", "UNWELL", "BUSY", "ROLLED_BACK", "STUCK", "INTERRUPTED")
    }
    assert all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("behind", [False, True])
def test_common_options_stand_before_the_command_or_behind_it(command: str, behind: bool) -> None:
    needed = {"restore": "latest", "discard": "x", "update": "0.3.0"}
    words = [command, *([needed[command]] if command in needed else [])]
    common = ["--json", "--wait", "7", "--stack", "other"]
    found = tammactl.parser().parse_args([*words, *common] if behind else [*common, *words])
    assert (found.command, found.json, found.wait, found.stack) == (command, True, 7.0, "other")


def test_without_them_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAMMA_STACK", raising=False)
    found = tammactl.parser().parse_args(["status"])
    assert (found.json, found.wait, found.stack) == (False, 0.0, "")
    monkeypatch.setenv("TAMMA_STACK", "another")
    assert tammactl.parser().parse_args(["status"]).stack == "another"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["explode"],
        ["restore"],
        ["restore", "latest", "--part", "kernel"],
        ["backup", "--wait", "-1"],
        ["backup", "--wait", "long"],
        ["status", "more"],
        ["discard"],
        ["discard", "--all", "tamma_before_x"],
        ["update"],
        ["rollback", "newest"],
        ["resume", "3"],
    ],
)
def test_a_wrong_command_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        tammactl.main(words)
    assert left.value.code == tammactl.USAGE
    assert "tammactl" in capsys.readouterr().err


# -- completion -----------------------------------------------------------------------------------


def complete(*words: str) -> set[str]:
    """What bash offers for the last of *words*."""
    script = (
        "source %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tammactl; "
        'printf "%%s\\n" "${COMPREPLY[@]}"'
    )
    quoted = " ".join("'%s'" % word for word in ["tammactl", *words])
    done = subprocess.run(
        ["bash", "-c", script % (SOURCE / "completion.bash", quoted)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_completion_offers_every_command() -> None:
    assert {word for word in complete("") if not word.startswith("-")} == set(COMMANDS)
    assert complete("ba") == {"backup", "backups"}


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_offers_every_option(command: str) -> None:
    assert complete(command, "--") == options(parsers()[command])


def test_completion_of_values() -> None:
    assert complete("restore", "latest", "--part", "") == {"database", "broker", "volumes", "files"}
    assert complete("backup", "--reason", "") == set()
    assert complete("--json", "restore", "la") == {"latest"}


# -- exit statuses and results --------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with the settings of a stack that has no backups and no engine."""
    monkeypatch.setattr(configuration, "CONFIGURATION", str(tmp_path / "etc"))
    monkeypatch.setattr(configuration, "RECORDS", str(tmp_path / "records"))
    monkeypatch.setattr(lock, "RUN", str(tmp_path / "run"))
    monkeypatch.delenv("TAMMA_STACK", raising=False)
    for function in (configuration.configuration, configuration.settings_file, tammactl.stack_name):
        monkeypatch.setattr(
            function, "__defaults__", tuple(str(tmp_path / "etc") for _default in function.__defaults__ or ())
        )
    configure(tmp_path, "tamma")
    return tmp_path


def configure(place: Path, project: str) -> None:
    settings = configuration.Configuration(
        project=project,
        directory=str(place / "stack"),
        engine_socket=str(place / "no.sock"),
        repositories=[],
        keep={},
        check_subset="5%",
        notify_command="",
        notify_webhook="",
        metrics_file="",
    )
    (place / "etc" / project).mkdir(parents=True)
    values = {**settings._asdict(), "overdue_hours": {}}
    (place / "etc" / project / "backup.json").write_text(json.dumps(values), encoding="utf-8")


def test_the_only_stack_is_meant(place: Path) -> None:
    root = str(place / "etc")
    assert tammactl.stack_name("", root) == "tamma"
    assert tammactl.stack_name("given", root) == "given"
    (place / "etc" / "leftover").mkdir()
    assert tammactl.stack_name("", root) == "tamma"


def test_two_stacks_have_to_be_told_apart(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(place, "other")
    assert tammactl.main(["status"]) == tammactl.FAILED
    assert "This host has the stacks other, tamma: name one with --stack." in capsys.readouterr().err


def test_a_host_without_a_stack(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(place / "etc")
    assert tammactl.main(["status"]) == tammactl.FAILED
    assert capsys.readouterr().err == (
        "tammactl: No stack of this host is known to tammactl: deploy one with site.yml.\n"
    )


@pytest.mark.parametrize("command", ["backup", "drill", "check", "prune"])
def test_without_repositories_nothing_is_backed_up(
    place: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert place.exists()
    assert tammactl.main([command, "--json", "--repository", "x"]) == tammactl.FAILED
    said = capsys.readouterr()
    assert json.loads(said.out)["ok"] is False
    assert json.loads(said.out)["problem"] == "There is no repository x: this host has none."
    assert said.err.splitlines()[-1] == "tammactl: There is no repository x: this host has none."


def test_workflows_are_in_no_repository(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    with pytest.raises(SystemExit) as caught:
        tammactl.main(["prune", "--workflows-finished-before", "30d", "--repository", "local"])
    assert caught.value.code == tammactl.USAGE
    assert "--repository is for backups" in capsys.readouterr().err


def test_workflows_wait_for_whoever_is_at_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Lock(str(place / "run" / "tamma.lock"), "restore"):
        assert tammactl.main(["prune", "--workflows-finished-before", "30d"]) == tammactl.BUSY
    assert "worked on by a restore" in capsys.readouterr().err


def test_the_second_comer_is_told_who_is_at_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Lock(str(place / "run" / "tamma.lock"), "restore"):
        assert tammactl.main(["discard", "--all", "--json"]) == tammactl.BUSY
    said = capsys.readouterr()
    assert re.search(r"worked on by a restore \(process %d, since \d\d:\d\d" % os.getpid(), said.err)
    assert json.loads(said.out)["ok"] is False


def test_whoever_waits_is_told_for_whom(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Lock(str(place / "run" / "tamma.lock"), "drill"):
        assert tammactl.main(["--wait", "0.3", "discard", "--all"]) == tammactl.BUSY
    lines = capsys.readouterr().err.splitlines()
    assert re.match(r"wait    for a drill \(process \d+, since ", lines[0])
    assert len(lines) == 2


def test_an_interruption_has_its_status(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.exists()

    def interrupted(_work: object, _arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(tammactl.COMMANDS, "doctor", interrupted)
    assert tammactl.main(["doctor"]) == tammactl.INTERRUPTED
    assert capsys.readouterr().err == "tammactl: Interrupted; the next run cleans up.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_ended_is_an_interruption(number: signal.Signals) -> None:
    former = {item: signal.getsignal(item) for item in (signal.SIGTERM, signal.SIGHUP)}
    try:
        # Somebody may have begun these tests with nohup.
        signal.signal(number, signal.SIG_DFL)
        tammactl._end_like_an_interruption()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_IGN)
        tammactl._end_like_an_interruption()
        os.kill(os.getpid(), number)
    finally:
        for item, handler in former.items():
            signal.signal(item, handler)


def test_what_is_not_permitted_says_so(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.exists()

    def refused(_work: object, _arguments: object) -> int:
        raise PermissionError(13, "Permission denied", "/etc/tamma")

    monkeypatch.setitem(tammactl.COMMANDS, "doctor", refused)
    assert tammactl.main(["doctor", "--json"]) == tammactl.FAILED
    said = capsys.readouterr()
    assert said.err == "tammactl: /etc/tamma: Permission denied. Run it as root.\n"
    assert json.loads(said.out) == {"ok": False, "problem": "/etc/tamma: Permission denied. Run it as root."}


def test_doctor_works_without_an_engine(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    assert tammactl.main(["doctor", "--json"]) == tammactl.UNWELL
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    words = [item["words"] for item in found["findings"]]
    assert words[0].startswith("The container engine does not answer on %s/no.sock" % place)
    assert "No backups are configured: set tamma_backup_password and run site.yml." in words


# -- releases -------------------------------------------------------------------------------------


def keep(place: Path, *entries: history.Entry) -> None:
    for item in entries:
        history.History(str(place / "stack")).note(item)


def test_the_release_that_serves_is_marked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(
        place,
        entry(1),
        entry(2, reason="a new one"),
        entry(3, outcome=history.FAILED, problem="It is ill.\nIts last lines", mode="guarded"),
    )
    assert tammactl.main(["releases"]) == tammactl.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:7] == ["NR", "TIME", "VERSION", "BY", "FROM", "MODE", "SECONDS"]
    assert lines[0].split()[7:] == ["OUTCOME", "WAY", "BACK", "REASON"]
    assert [line[:5].split() for line in lines[1:]] == [["1"], ["*", "2"], ["3"]]
    assert re.search(r"  served   not needed$", lines[1])
    assert re.search(r"  serves   -  +a new one$", lines[2])
    assert re.search(r"  failed   -  +It is ill\.$", lines[3])
    assert tammactl.main(["releases", "--json"]) == tammactl.DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["release"], len(found["releases"])) == (True, 2, 3)


def test_a_host_without_releases(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    assert tammactl.main(["releases"]) == tammactl.DONE
    assert capsys.readouterr().out == "No release is known: the next deploy makes the first.\n"


def test_the_audit_log_is_shown(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "DIRECTORY", str(place / "log"))
    assert tammactl.main(["releases", "--log"]) == tammactl.DONE
    assert capsys.readouterr().out == "The audit log is empty.\n"
    audit.append("tamma", {"what": "rollback", "by": "alice", "from": 2, "to": 3, "outcome": "serves", "reason": "x y"})
    assert tammactl.main(["releases", "--log"]) == tammactl.DONE
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["TIME", "WHAT", "BY"]
    assert line.split()[1:3] == ["rollback", "alice"]
    assert line.endswith("serves   x y")
    assert tammactl.main(["releases", "--log", "--json"]) == tammactl.DONE
    assert json.loads(capsys.readouterr().out)["log"][0]["to"] == 3


def test_a_rollback_says_what_becomes_of_the_database() -> None:
    told: dict[str, Any] = {"release": 2, "version": "0.2.0", "plan": [], "database": "", "kept_as": ""}
    assert rollback_lines(told)[-1] == "The database stays as it is, because its schema is the same."
    step = {"action": "recreate", "service": "tamma-api", "reason": "its image changed"}
    told.update(plan=[step], database="tamma_guard_3", kept_as="tamma_guard_4")
    first, second, last = rollback_lines(told)
    assert first == "Would go back to release 2 (0.2.0)."
    assert second == "  recreate tamma-api: its image changed"
    assert "tamma_guard_3 takes its place" in last
    assert "would be kept as tamma_guard_4" in last


class Foreseeing:
    """A host on which an update can be foreseen, and nothing else be done."""

    def __init__(self, *_: object) -> None:
        pass

    def update(self) -> Any:
        step = planner.Change("tamma-api", "recreate", "its definition changed")
        plan = planner.Plan(["api:0.3.0"], ["postgres:15@sha256:a"], [step], [])
        planned = Planned([], [], {}, Project("tamma", {}, []), plan)
        words, work = "guarded: tamma-api get another image", types.SimpleNamespace()
        foreseen = update.Foreseen(planned, work, entry(2), update.GUARDED, words)
        return types.SimpleNamespace(of_version=lambda _version: None, foresee=lambda _release: foreseen)


def test_an_update_is_foreseen(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_host, "OnHost", Foreseeing)
    # Whoever else is at work, for a backup perhaps: nobody waits for what changes nothing.
    with Lock(str(place / "run" / "tamma.lock"), "backup"):
        assert tammactl.main(["update", "0.3.0", "--plan"]) == tammactl.DONE
    assert capsys.readouterr().out.splitlines() == [
        "Would put version 0.3.0 in the place of release 2.",
        "  pull api:0.3.0",
        "  recreate tamma-api: its definition changed",
        "The release would come guarded: tamma-api get another image.",
        "The registry would be asked for these images again, which may change more: postgres:15.",
    ]
    assert tammactl.main(["update", "0.3.0", "--plan", "--json"]) == tammactl.DONE
    found = json.loads(capsys.readouterr().out)["update"]
    assert (found["former"], found["version"], found["mode"]) == (2, "0.3.0", "guarded")
    assert (found["pulls"], found["refreshes"]) == (["api:0.3.0"], ["postgres:15"])


def test_an_update_that_changes_nothing_is_foreseen() -> None:
    told: dict[str, Any] = {"changed": False, "version": "0.3.0", "former": 2, "comes": "", "plan": [], "pulls": []}
    assert update_lines({**told, "refreshes": []}) == ["Nothing would have to be changed for version 0.3.0."]
    first = update_lines({**told, "changed": True, "former": 0, "refreshes": []})[0]
    assert first == "Would put version 0.3.0 in the place of what is on this host."


@pytest.mark.parametrize("words", [["update", "0.3.0", "--plan"], ["rollback", "--plan"]], ids=lambda words: words[0])
def test_nothing_is_foreseen_of_what_was_cut_off(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(on_host, "OnHost", Foreseeing)
    (place / "stack" / ".tamma").mkdir(parents=True)
    journal = update.Journal(2, 1, update.GUARDED, "", "", "", update.COPIED)
    (place / "stack" / update.JOURNAL).write_text(json.dumps(journal._asdict()), encoding="utf-8")
    assert tammactl.main(words) == tammactl.FAILED
    assert "The update from release 1 to 2 was cut off: type 'tammactl resume'" in capsys.readouterr().err
    with Lock(str(place / "run" / "tamma.lock"), "update"):
        assert tammactl.main(words) == tammactl.BUSY
    assert "This stack is being worked on by an update" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "pending", "status"),
    [
        (OperatorError("It cannot be pulled."), False, "FAILED"),
        (OperatorError("What was cut off was completed first.", outcome=on_host.COMPLETED), False, "FAILED"),
        (update.RolledBack("It is ill.\nRelease 1 serves again.", outcome="rolled_back"), False, "ROLLED_BACK"),
        (update.Stuck("Both failed. Type 'tammactl resume'."), True, "STUCK"),
        (OperatorError("The edge does not load it."), True, "STUCK"),
        (OSError(28, "No space left on device"), True, "STUCK"),
        (Busy("Somebody is at work."), True, "BUSY"),
        (KeyboardInterrupt(), True, "INTERRUPTED"),
    ],
)
@pytest.mark.parametrize("words", [["update", "0.3.0"], ["rollback", "--yes"], ["resume"]], ids=lambda words: words[0])
def test_exit_statuses_tell_how_it_stands(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    failure: BaseException,
    pending: bool,
    status: str,
) -> None:
    class Host:
        """Fails when somebody begins to work on it."""

        def __init__(self, *_: object) -> None:
            pass

        def fail(self, _operation: str, _wait: float) -> Any:
            raise failure

        alone = locked = fail

        def locked_to_go_back(self, _number: int, _wait: float) -> Any:
            raise failure

        def to_its_end(self) -> Any:
            return on_host.to_its_end("tamma", str(place / "stack"), "/no/socket")

    monkeypatch.setattr(on_host, "OnHost", Host)
    if pending:
        (place / "stack" / ".tamma").mkdir(parents=True)
        journal = update.Journal(2, 1, update.GUARDED, "", "", "", update.COPIED)
        (place / "stack" / update.JOURNAL).write_text(json.dumps(journal._asdict()), encoding="utf-8")
    handlers = signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)
    assert tammactl.main([*words, "--json"]) == getattr(tammactl, status)
    assert handlers == (signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM))
    said = capsys.readouterr()
    assert json.loads(said.out)["ok"] is False
    if status == "STUCK":
        assert "tammactl resume" in said.err
        assert "What stands now is not known" in said.err


def test_a_pending_update_is_told_by_its_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "stack" / ".tamma").mkdir(parents=True)
    journal = update.Journal(2, 1, update.GUARDED, "", "", "", update.COPIED)
    (place / "stack" / update.JOURNAL).write_text(json.dumps(journal._asdict()), encoding="utf-8")
    assert tammactl.main(["doctor"]) == tammactl.UNWELL
    assert "The update from release 1 to 2 was cut off: type 'tammactl resume'" in capsys.readouterr().out


# -- logs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (
            "\x1b[2Ktamma-api-1  | 2026-01-01T00:00:00.5Z info: ready | steady\n",
            ("tamma-api", "tamma-api-1", "2026-01-01T00:00:00.5Z", "info: ready | steady"),
        ),
        ("postgres-12 | 2026-01-01T00:00:00Z \n", ("postgres", "postgres-12", "2026-01-01T00:00:00Z", "")),
        ("something else\n", ("", "", "", "something else")),
    ],
)
def test_a_line_of_the_logs(line: str, entry: tuple[str, str, str, str]) -> None:
    assert tuple(tammactl.log_line(line)[key] for key in ("service", "container", "time", "text")) == entry


# -- progress -------------------------------------------------------------------------------------


def test_plain_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    progress = tammactl.Progress(stream)
    progress("dump", "one")
    progress.measured("dump", "two")
    progress("store", "three")
    progress.close()
    assert stream.getvalue() == "dump    one\ndump    two\nstore   three\n"
    assert progress.every == 5.0


def test_on_a_terminal_measurements_take_each_others_place() -> None:
    reading, writing = os.openpty()
    with open(writing, "w", encoding="utf-8") as terminal:
        progress = tammactl.Progress(terminal)
        progress.measured("dump", "1 of 3")
        progress.measured("dump", "2 of 3 " + "x" * 500)
        progress("store", "kept")
        progress.measured("dump", "3 of 3")
        progress.close()
        # Before it is closed: what was not read is lost with it.
        said = ""
        while said.count("\x1b[K") < 3:
            said += os.read(reading, 10000).decode()
    os.close(reading)
    assert progress.every < 1
    # What a terminal shows: \r goes to the beginning of a line, \x1b[K takes away what stands there.
    shown = [line.rpartition("\x1b[K")[2] for line in said.replace("\r\n", "\n").split("\n")]
    assert len(shown) == 2
    assert re.fullmatch(r" +\d+\.\d s  store   kept", shown[0])
    assert shown[1] == ""
    assert all(len(part) < 200 for part in said.split("\r"))


# -- the program ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tammactl") / "tammactl"
    path.write_bytes(zipapp(ROOT))
    path.chmod(0o755)
    return path


def run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it with a Python that has nothing but its standard library."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("this machine has no Python of its own")
    return subprocess.run(
        [python, "-I", "-S", str(program), *words],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_same_files_make_the_same_bytes() -> None:
    assert zipapp(ROOT) == zipapp(ROOT)


def test_it_holds_the_operator_and_nothing_else(program: Path) -> None:
    assert program.read_bytes().startswith(b"#!/usr/bin/python3 -I\n")
    package = "ansible_collections/meywd/tamma/plugins/module_utils/"
    names = set(zipfile.ZipFile(program).namelist())
    assert {name for name in names if not name.endswith("__init__.py")} == {
        "__main__.py",
        *(
            package + path.name
            for path in (ROOT / "plugins" / "module_utils").glob("*.py")
            if path.name != "__init__.py"
        ),
    }


def test_it_runs_alone(program: Path) -> None:
    done = run(program, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: tammactl ")
    for command in COMMANDS:
        assert run(program, command, "--help").returncode == 0, command


def test_its_exit_statuses(program: Path) -> None:
    assert run(program, "explode").returncode == tammactl.USAGE
    done = run(program, "--stack", "no-such-stack", "--json", "status")
    assert done.returncode == tammactl.FAILED
    assert json.loads(done.stdout)["problem"] == done.stderr.removeprefix("tammactl: ").rstrip("\n")


def test_no_path_of_the_caller_chooses_its_code(program: Path, tmp_path: Path) -> None:
    planted = "import pathlib\npathlib.Path(%r).touch()\n" % str(tmp_path / "ran")
    for name in ("argparse.py", "sitecustomize.py", "usercustomize.py"):
        (tmp_path / name).write_text(planted, encoding="utf-8")
    hostile = tmp_path / "python3"
    hostile.write_text("#!/bin/sh\ntouch %s\n" % (tmp_path / "ran"), encoding="utf-8")
    hostile.chmod(0o755)
    done = subprocess.run(
        [str(program), "--help"],
        env={"PATH": "%s:/usr/bin:/bin" % tmp_path, "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(hostile)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "ran").exists()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: tammactl ")


def test_its_programs_are_those_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tammactl.settle_environment()
    assert os.environ["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_a_host_without_that_python_takes_the_one_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    text = base64.b64encode(zipapp(ROOT)).decode("ascii")
    monkeypatch.setattr(backup_setup, "PYTHON", "/nowhere/python3")
    changed = backup_setup.decoded(text, "/opt/python/bin/python3")
    assert changed.startswith(b"#!/opt/python/bin/python3 -I\nPK")
    assert zipfile.ZipFile(io.BytesIO(changed)).testzip() is None
