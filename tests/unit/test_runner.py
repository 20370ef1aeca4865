# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real programs, started with a small, known environment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner, Stalled


def test_a_programs_result(tmp_path: Path) -> None:
    script = "cat; pwd; echo trouble >&2; exit 3"
    found = Runner().run(["sh", "-c", script], cwd=str(tmp_path), stdin="in\n", timeout=10)
    assert found == Result(3, "in\n%s\n" % tmp_path, "trouble\n")


def test_output_in_another_encoding_is_readable() -> None:
    assert Runner().run(["printf", "\\377 end"]).out == "\ufffd end"


def test_the_callers_environment_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose would prefer a variable of its environment to the one in .env."""
    monkeypatch.setenv("GITHUB_TOKEN", "of-roots-shell")
    monkeypatch.setenv("COMPOSE_FILE", "elsewhere.yml")
    names = {line.split("=")[0] for line in Runner({"DOCKER_HOST": "x"}).run(["env"]).out.splitlines()}
    assert names == {"PATH", "HOME", "LC_ALL", "DOCKER_HOST"}


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(OperatorError, match=r"^'/no/such/program' cannot be run: No such file or directory\.$"):
        Runner().run(["/no/such/program", "argument"])


def test_a_program_that_takes_too_long() -> None:
    with pytest.raises(OperatorError, match=r"^'sleep 60' did not end within 1 seconds\.$"):
        Runner().run(["sleep", "60"], timeout=1)


# -- pipelines --------------------------------------------------------------------------------------


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def children() -> set[int]:
    """The processes that this one has, those that are dead and not waited for as well."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields and int(fields[1]) == os.getpid():
            found.add(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def test_a_pipeline_hands_everything_on() -> None:
    lines: list[str] = []
    found = Runner().pipeline(
        [sh("seq 1 100000"), ["sort", "-n"], ["tail", "-n", "2"]], lambda line: not lines.append(line)
    )
    assert found == [Result(0, "", ""), Result(0, "", ""), Result(0, "99999\n100000\n", "")]
    assert lines == ["99999\n", "100000\n"]


@pytest.fixture
def named(tmp_path: Path) -> str:
    """A named pipe."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        # The program itself has the other end, or one that uses the pipe by its name: at once, or when its counterpart
        # has come and gone.
        ("exec seq 1 100000", "exec cat"),
        ("exec 3<>PIPE >PIPE 3<&-; exec seq 1 100000", "exec cat"),
        ("exec seq 1 100000", "exec 3<>PIPE <PIPE 3<&-; exec cat"),
        ("exec echo 100000", "sleep 0.3; exec 3<>PIPE <PIPE 3<&-; exec cat"),
        ("sleep 0.3; exec 3<>PIPE >PIPE 3<&-; exec echo 100000", "exec cat"),
    ],
)
def test_a_named_pipe_hands_everything_on(named: str, writer: str, reader: str) -> None:
    for _ in range(2):
        first, last = Runner().pipeline([sh(part.replace("PIPE", named)) for part in (writer, reader)], named=named)
        assert (first.rc, last.rc, last.out.split()[-1]) == (0, 0, "100000")


def test_nobody_waits_for_ever_at_a_named_pipe(named: str) -> None:
    """One end is gone before the other one is opened by its name."""
    first, last = Runner().pipeline([sh("exit 7"), ["cat"]], named=named)
    assert (first.rc, last) == (7, Result(0, "", ""))
    late = f"sleep 0.3; exec 3<>{named} >{named} 3<&-; exec yes"
    first, last = Runner().pipeline([sh(late), sh("exit 3")], named=named)
    assert last.rc == 3
    assert first.rc == -signal.SIGPIPE or "Broken pipe" in first.err


def test_nothing_else_is_taken_for_a_named_pipe(named: str, tmp_path: Path) -> None:
    for path in (tmp_path / "link", tmp_path / "file", tmp_path / "nothing"):
        if path.name == "link":
            path.symlink_to(named)
        elif path.name == "file":
            path.write_text("untouched")
        with pytest.raises(OperatorError, match="named pipe"):
            Runner().pipeline([["yes"], ["cat"]], named=str(path))
    assert (tmp_path / "file").read_text() == "untouched"


def test_only_the_end_of_much_output_is_kept() -> None:
    (found,) = Runner().pipeline([sh("seq 1 100000; yes complaint | head -n 100000 >&2")])
    assert found.out.splitlines()[-1] == "100000"
    assert len(found.out.splitlines()) < 100
    assert found.err.endswith("complaint\n")
    assert len(found.err) <= 20000


def test_the_first_one_fails() -> None:
    first, last = Runner().pipeline([sh("echo half; echo broken >&2; exit 7"), ["cat"]])
    assert first == Result(7, "", "broken\n")
    assert last == Result(0, "half\n", "")


def test_the_last_one_fails_and_the_first_is_told() -> None:
    """A producer whose consumer is gone ends with a broken pipe: it does not go on for ever."""
    first, last = Runner().pipeline([["yes"], sh("head -c 10 >/dev/null; echo full >&2; exit 3")])
    assert (last.rc, last.err) == (3, "full\n")
    assert first.rc == -signal.SIGPIPE or "Broken pipe" in first.err


def test_one_that_is_killed() -> None:
    first, last = Runner().pipeline([sh("echo part; kill -KILL $$"), ["cat"]])
    assert first.rc == -signal.SIGKILL
    assert last == Result(0, "part\n", "")


@pytest.mark.parametrize("place", [0, 1])
def test_one_that_cannot_be_started_leaves_no_other(place: int) -> None:
    commands = [["yes"], ["cat"]]
    commands[place] = ["/no/such/program"]
    with pytest.raises(OperatorError, match=r"^'/no/such/program' cannot be run: No such file or directory\.$"):
        Runner().pipeline(commands)


def test_a_pipeline_that_stands_still_is_stopped() -> None:
    began = time.monotonic()
    with pytest.raises(Stalled, match=r"^'sleep' got nothing done for 0 seconds and was stopped\.$") as stalled:
        Runner().pipeline([sh("exec sleep 60"), ["sleep", "60"]], patience=0.3)
    assert stalled.value.complaint == ""
    assert time.monotonic() - began < 30


def test_what_somebody_said_who_got_nothing_done_is_known() -> None:
    says = sh("echo 'no space left' >&2; exec sleep 60")
    with pytest.raises(Stalled) as stalled:
        Runner().pipeline([["true"], says], patience=1)
    assert stalled.value.complaint == "no space left\n"
    with pytest.raises(Stalled, match="did not end within 1 seconds") as stalled:
        Runner().run(says, timeout=1)
    assert stalled.value.complaint == "no space left\n"


def test_one_that_goes_on_is_not_stopped() -> None:
    """Slow in all, but never still for as long as the patience lasts."""
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.1; done"
    (found,) = Runner().pipeline([sh(script)], lambda _line: True, patience=1)
    assert found.rc == 0
    with pytest.raises(OperatorError, match="got nothing done"):
        # The same lines count for nothing when they say that nothing has moved.
        Runner().pipeline(
            [sh(script.replace("12;", "12 13 14 15 16 17 18 19 20 $(seq 100);"))], lambda _line: False, patience=1
        )


def test_an_error_on_the_way_ends_all_of_them() -> None:
    def refuse(_line: str) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Runner().pipeline([["yes"], ["cat"]], refuse)


@pytest.mark.parametrize("through_a_pipe", [True, False])
def test_a_reader_is_given_what_the_last_one_prints(named: str, through_a_pipe: bool) -> None:
    pieces: list[bytes] = []
    last = "exec cat" + (f" > {named}" if through_a_pipe else "")
    first, second = Runner().pipeline(
        [sh("seq 1 100000"), sh(last)], reader=pieces.append, read_from=named if through_a_pipe else ""
    )
    assert (first.rc, second) == (0, Result(0, "", ""))
    assert b"".join(pieces).split() == [b"%d" % number for number in range(1, 100001)]


def test_a_reader_does_not_wait_for_whom_nobody_ends(named: str) -> None:
    """A program in a container lives on when the one that has begun it is killed, and holds its end of the pipe."""
    holding = f"(exec 3<>{named}; exec sleep 5) >/dev/null 2>&1 & exec sleep 5"
    began = time.monotonic()
    with pytest.raises(Stalled):
        Runner().pipeline([sh(holding)], patience=0.2, reader=lambda _piece: None, read_from=named)
    assert time.monotonic() - began < 5


def test_the_first_one_may_have_another_environment() -> None:
    show = sh('echo "$MARK"; cat 2>/dev/null')
    done = Runner({"MARK": "ours"}).pipeline([show, show], first=Runner({"MARK": "theirs"}))
    assert done[-1].out.split() == ["ours", "theirs"]
