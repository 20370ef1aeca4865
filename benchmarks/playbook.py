# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a playbook against the benchmark's hosts, with the seconds and the visits of its tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.command import BenchError
from tests.bench.hosts import Host
from tests.bench.names import REPOSITORY, cache_dir

from . import sandbox

_HERE = Path(__file__).parent
_PROGRAMS = Path(sys.executable).parent
_LAST_LINES = 30


@dataclass(frozen=True)
class Play:
    """One run of ``ansible-playbook``: what it took as a whole, its tasks by host, and what it printed."""

    seconds: float
    tasks: list[dict[str, Any]]
    output: str

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        return sum(task["changed"] for task in self.tasks)

    @property
    def remote_tasks(self) -> int:
        """How many tasks went to the host that was visited by the most."""
        return max(sum(bool(task["visits"]) for task in tasks) for tasks in self._by_host())

    @property
    def visits(self) -> int:
        """How many commands were executed on the host that had the most of them."""
        return max(sum(int(task["visits"]) for task in tasks) for tasks in self._by_host())

    @property
    def deploy(self) -> dict[str, Any]:
        """The task of one host that applied a release: it alone has timings of its phases."""
        (task,) = (task for task in self.tasks if task["timings"])
        return task

    def role_seconds(self, role: str) -> float:
        """How long the tasks of a role worked on one host."""
        return float(sum(task["seconds"] for task in self.tasks if task["role"].endswith(role)))

    def _by_host(self) -> list[list[dict[str, Any]]]:
        return [[task for task in self.tasks if task["host"] == host] for host in {t["host"] for t in self.tasks}]


def log_file() -> Path:
    """Where everything that Ansible prints goes."""
    return cache_dir() / "benchmark.log"


def play(name: str | Path, hosts: Sequence[Host], *options: str) -> Play:
    """Run a playbook of this repository on some hosts, over SSH connections that begin with it."""
    # Short, because the path of a socket may have a hundred characters at most.
    with tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp") as scratch, log_file().open("a") as log:
        tasks, sockets = Path(scratch, "tasks"), Path(scratch, "ssh")
        limit = ",".join(host.name for host in hosts)
        command = ["ansible-playbook", "-i", "inventories/sandbox", "--limit", limit, *options, str(name)]
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        said = log.tell()
        environment = {
            **os.environ,
            "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
            "TAMMA_SANDBOX": sandbox.NAME,
            "TAMMA_BENCHMARK_TASKS": str(tasks),
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "visits",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        }
        begin = time.monotonic()
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
        seconds = time.monotonic() - begin
        for socket in sockets.glob("*"):
            close = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-"]
            subprocess.run(close, stderr=subprocess.DEVNULL, check=False)
        output = log_file().read_bytes()[said:].decode()
        if done.returncode:
            last = "\n".join(output.splitlines()[-_LAST_LINES:])
            raise BenchError(f"`{' '.join(command)}` failed; the end of {log_file()}:\n{last}")
        return Play(seconds, [json.loads(line) for line in tasks.read_text().splitlines()], output)


def remove(hosts: list[Host]) -> None:
    """Take the stack off some hosts, with its volumes."""
    play("playbooks/teardown.yml", hosts, "--extra-vars", "tamma_stack_remove_volumes=tamma")
