# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real programs, started with a small, known environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner


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
