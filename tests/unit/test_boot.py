# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit that brings a stack back after a boot, and first completes what was cut off."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import boot, on_host
from ansible_collections.meywd.tamma.plugins.module_utils.engine import DOCKER_SOCKET, PODMAN_SOCKET


def script(text: str, program: Path) -> str:
    """What systemd gives to the shell before the stack starts, with another program in tammactl's place."""
    found = re.search(r"^ExecStartPre=/bin/sh -c '\\\n(.*?)'$", text, re.MULTILINE | re.DOTALL)
    assert found
    words = found.group(1).replace("\\\n", "").replace("$$", "$")
    assert "'" not in words
    return words.replace(boot.TAMMACTL, str(program))


@pytest.fixture(params=[DOCKER_SOCKET, PODMAN_SOCKET])
def text(request: pytest.FixtureRequest) -> str:
    return boot.unit("tamma", "/opt/tamma", request.param, "/usr/bin/docker-compose")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "tammactl"
    path.write_text('#!/bin/sh\necho "$@"\nexit 3\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def run(words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", words], cwd=directory, capture_output=True, text=True, check=False)


def test_what_was_cut_off_comes_before_the_stack(text: str) -> None:
    assert text.index("resume") < text.index("up --detach")


def test_usually_nothing_is_started_for_it(text: str, program: Path, tmp_path: Path) -> None:
    done = run(script(text, program), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["update", "restore", "rotation"])
def test_each_journal_is_noticed_and_a_failure_stops_the_start(
    text: str, program: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / ".tamma").mkdir()
    (tmp_path / ".tamma" / (name + ".json")).touch()
    done = run(script(text, program), tmp_path)
    assert (done.returncode, done.stdout) == (3, "--stack tamma --wait 600 resume\n")


def test_its_log_says_before_the_stack_stops_what_is_lost() -> None:
    words = 'elsa-server stops: 100% of "this" is lost'
    text = boot.unit("tamma", "/opt/tamma", DOCKER_SOCKET, "/usr/bin/docker-compose", [words])
    line = 'ExecStop=/bin/echo "elsa-server stops: 100%% of \\"this\\" is lost"\n'
    assert line + "ExecStop=/usr/bin/docker-compose stop\n" in text


def test_the_unit_knows_every_journal(text: str) -> None:
    modules = (on_host.update, on_host.restore, on_host.rotation)
    assert len(modules) == len(on_host.JOURNALS)
    found = re.search(r"for journal in ([^;]*);", text)
    assert found
    assert [".tamma/%s.json" % name for name in found.group(1).split()] == [module.JOURNAL for module in modules]


def test_without_tammactl_the_stack_starts_as_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / ".tamma").mkdir()
    (tmp_path / ".tamma" / "update.json").touch()
    assert run(script(text, tmp_path / "nothing"), tmp_path).returncode == 0
