# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation at a time, with real processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ansible_collections
from ansible_collections.meywd.tamma.plugins.module_utils import lock
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Busy, Lock, at_work, refuse_if_held

HOLDER = """
import sys, time
import ansible_collections
ansible_collections.__path__[:] = sys.argv[2:]
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Lock
with Lock(sys.argv[1], "restore"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run" / "tamma.lock")


@pytest.fixture
def holder(path: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    argv = [sys.executable, "-c", HOLDER, path, *ansible_collections.__path__]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_works_on_the_stack(path: str, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(OperatorError) as refused, Lock(path, "deploy"):
        pass
    assert re.fullmatch(
        r"This stack is being worked on by a restore \(process %d, since \d\d:\d\d:\d\d\); "
        r"wait until it has ended and run this again\." % holder.pid,
        refused.value.message,
    )


def test_a_killed_holder_holds_nothing(path: str, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with Lock(path, "deploy"):
        assert '"operation": "deploy"' in Path(path).read_text()


def test_waiting_until_the_other_has_ended(path: str) -> None:
    first = Lock(path, "backup")
    first.__enter__()
    threading.Timer(0.3, first.__exit__).start()
    began = time.monotonic()
    with Lock(path, "deploy", wait=10):
        assert 0.2 < time.monotonic() - began < 5


def test_whoever_waits_is_told_once_for_whom(path: str) -> None:
    told: list[str] = []
    with Lock(path, "backup"), pytest.raises(OperatorError), Lock(path, "deploy", wait=0.5, waiting=told.append):
        pass
    (who,) = told
    assert re.fullmatch(r"a backup \(process %d, since \d\d:\d\d:\d\d\)" % os.getpid(), who)


def test_whoever_does_not_wait_is_told_nothing(path: str) -> None:
    told: list[str] = []
    with Lock(path, "backup", wait=5, waiting=told.append):
        pass
    with Lock(path, "backup"), pytest.raises(OperatorError), Lock(path, "deploy", waiting=told.append):
        pass
    assert told == []


def test_waiting_has_an_end(path: str) -> None:
    began = time.monotonic()
    with Lock(path, "backup"), pytest.raises(OperatorError, match="a backup"), Lock(path, "deploy", wait=0.3):
        pass
    assert 0.3 <= time.monotonic() - began < 5


def test_a_refused_attempt_leaves_the_holders_lock(path: str) -> None:
    with Lock(path, "backup"):
        for _ in range(2):
            with pytest.raises(OperatorError, match=r"a backup \(process %d," % os.getpid()), Lock(path, "deploy"):
                pass


def test_it_is_free_again_after_an_error(path: str) -> None:
    with pytest.raises(ZeroDivisionError), Lock(path, "deploy"):
        raise ZeroDivisionError
    with Lock(path, "deploy"):
        pass


def test_a_holder_that_has_not_said_its_name_yet(path: str) -> None:
    with Lock(path, "deploy"):
        Path(path).write_text("")
        with pytest.raises(OperatorError, match="worked on by another operation"), Lock(path, "deploy"):
            pass


def test_only_its_owner_sees_into_the_directory(path: str) -> None:
    with Lock(path, "deploy"):
        assert Path(path).parent.stat().st_mode & 0o777 == 0o700


def test_who_is_at_work_is_seen_without_asking_for_the_lock(
    path: str, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_arguments: pytest.fail("it asked"))
    assert re.fullmatch(r"a restore \(process %d, since \d\d:\d\d:\d\d\)" % holder.pid, at_work(path))
    with pytest.raises(Busy, match="being worked on by a restore"):
        refuse_if_held(path)
    holder.kill()
    holder.wait()
    assert at_work(path) == ""
    refuse_if_held(path)


def test_nobody_is_at_work_where_there_is_no_lock(path: str) -> None:
    assert at_work(path) == ""
    with Lock(path, "deploy"):
        assert at_work(path)
    assert at_work(path) == ""
