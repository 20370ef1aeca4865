# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts, in the worker that runs a task, how often that task really went to its host."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.executor.task_executor import TaskExecutor
from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: visits
type: aggregate
short_description: Count the visits to the hosts
description:
  - Appends a line for each task and host to a file, with its seconds and its visits. A visit is a command that was
    executed on the host, be it a module or one of the small commands around it. Tasks that only worked on the
    controller have none, whatever their name or their result says.
requirements: []
"""

_FILE = os.environ["TAMMA_BENCHMARK_TASKS"]


class CallbackModule(CallbackBase):
    """Answers to no event: it is loaded before the workers are forked, and they inherit the counters."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "visits"
    CALLBACK_NEEDS_ENABLED = True


_visits = 0
_execute = ActionBase._low_level_execute_command
_run = TaskExecutor.run


def _counted_execute(self: Any, *arguments: Any, **options: Any) -> Any:
    global _visits
    if self._connection.transport != "local":
        _visits += 1
    return _execute(self, *arguments, **options)


def _counted_run(self: Any) -> dict[str, Any]:
    begin = time.monotonic()
    before = _visits
    result: dict[str, Any] = _run(self)
    line = {
        "host": self._host.get_name(),
        "role": self._task._role.get_name() if self._task._role else "",
        "name": self._task.get_name(),
        "seconds": time.monotonic() - begin,
        "visits": _visits - before,
        "changed": bool(result.get("changed")),
        "timings": result.get("timings") or {},
    }
    # One write, so that workers which end at the same time do not cut each other's lines.
    with open(_FILE, "ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")
    return result


ActionBase._low_level_execute_command = _counted_execute
TaskExecutor.run = _counted_run
