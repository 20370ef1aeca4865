"""The clock of a test run, and how patient a run is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench import clock, patience
from tests.bench.clock import Own, Phase
from tests.bench.command import BenchError

OUTPUT = """
INFO     [default > converge] Executing

TASK [meywd.tamma.tamma_runtime : The packages are installed] ***
TASK [tamma_runtime : Docker runs] ***
TASK [tamma_stack : The stack is deployed] ***
    tamma1 |   0.4 s  pull    registry.bench:5000/caddy:2
    tamma1 |   5.3 s  pull    registry.bench:5000/caddy:2 is here (4.9 s)
    tamma1 |  10.4 s  apply   edge: starting
    tamma1 |  24.9 s  verify  1 published addresses answer
TASK [Show a table] ***
PLAY RECAP ***
INFO     [default > converge] Executed: Successful
INFO     [default > verify] Executing
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the clock writes during the test."""
    monkeypatch.setenv(clock.FILE, str(tmp_path / "run.jsonl"))
    monkeypatch.setenv(clock.PLACE, "here")
    return tmp_path / "run.jsonl"


def test_what_a_program_prints_is_told_in_phases(file: Path) -> None:
    lines = clock.Lines()
    for line in OUTPUT.splitlines(keepends=True):
        lines.take(line)
    lines.end()
    assert [phase.name for phase in clock.read(file)] == [
        "installing the engine",
        "pulling images",
        "starting services",
        "operator: verify",
        "tasks of tamma_stack",
        "tasks of playbooks",
        "Molecule: converge",
        "Molecule: verify",
    ]
    assert {phase.place for phase in clock.read(file)} == {"here"}


def test_without_a_file_nothing_is_recorded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(clock.FILE)
    with clock.phase("at work"):
        pass
    assert not file.exists()


def test_a_phase_has_for_itself_what_those_inside_it_leave() -> None:
    phases = [
        Phase("one", "innermost", 12, 14, 1),
        Phase("one", "inner", 11, 15, 3),
        Phase("one", "beside it", 16, 17, 0),
        Phase("one", "outer", 10, 20, 8),
        # At the same time, elsewhere.
        Phase("other", "outer", 11, 19, 8),
    ]
    assert clock.own(phases) == [
        Own("one", "outer", 5, 5),
        Own("one", "inner", 2, 2),
        Own("one", "innermost", 2, 1),
        Own("one", "beside it", 1, 0),
        Own("other", "outer", 8, 8),
    ]


def test_the_table_has_every_phase_and_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    phases = [Phase("one", "boot", 0, 70, 70), Phase("two", "boot", 10, 20, 20), Phase("", clock.RUN, 0, 80, 120)]
    table = [" ".join(line.split()) for line in clock.table(phases)]
    assert table[0] == "the whole run: 1:20.0, cores 75 % busy"
    assert "boot 2 1:20.0 56 %" in table
    assert table[-2:] == ["one 1 1:10.0 50 %", "two 1 0:10.0 100 %"]


def test_a_slow_machine_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.FACTOR, "1")
    monkeypatch.setattr(patience, "SECONDS", patience.SECONDS / 1000)
    assert patience.measure() > 50
    assert patience.scaled(10) > 500
    monkeypatch.setattr(patience, "SECONDS", patience.SECONDS * 1000000)
    assert patience.measure() == 1
    assert patience.scaled(10) == 10


def test_waiting_ends_with_what_was_waited_for_or_with_words(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv(patience.FACTOR, "1")
    looks = iter(["", "", "here"])
    assert patience.wait_until(lambda: next(looks), 60, "a parcel") == "here"
    assert [phase.name for phase in clock.read(file)] == ["waiting for a parcel"]
    with pytest.raises(BenchError, match=r"^Waited 0 s in vain for a letter\. The post is late\.$"):
        patience.wait_until(lambda: "", 0.2, "a letter", lambda: "The post is late.")
