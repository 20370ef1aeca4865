"""What came of faults is counted as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import faults
from .faults import DataLost, Fault


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "tally", {})


def test_a_matrix_goes_on_after_a_fault_that_was_not_survived(capsys: pytest.CaptureFixture[str]) -> None:
    def survive(fault: Fault) -> None:
        if fault == Fault("after", "replace .env #1"):
            raise DataLost("gone")
        assert fault != Fault("during", "pg_dump #1"), "left something"

    with pytest.raises(AssertionError, match=r"(?s)^backup: after replace .*gone\n\nbackup: during pg_dump .*left"):
        faults.matrix("backup", ["replace .env #1", "pg_dump #1"], survive)
    assert capsys.readouterr().out.splitlines() == [
        "backup: before replace .env #1: survived",
        "backup: after replace .env #1: NOT SURVIVED",
        "backup: before pg_dump #1: survived",
        "backup: during pg_dump #1: NOT SURVIVED",
        "backup: after pg_dump #1: survived",
    ]
    assert faults.table() == ["WHAT FAILS  CASES  SURVIVED  DATA LOST", "backup      5      3         1"]


def test_what_ci_tries_is_listed_by_its_kind(tmp_path: Path) -> None:
    file = tmp_path / "faults.txt"
    file.write_text("update: after replace .env #1\ncase: wrong password\nupdate case: power cut, copied\n")
    assert faults.listed(file, "update") == [Fault("after", "replace .env #1")]
    assert faults.cases(file) == ["wrong password"]
    assert faults.cases(file, "update case") == ["power cut, copied"]
