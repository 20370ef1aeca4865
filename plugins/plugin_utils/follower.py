# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows on the controller what a module does on a host, while it does it."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

_POLL_SECONDS = 1.0


class Follower(threading.Thread):
    """Shows the lines that the module writes on the host while it works.

    It asks over a connection of its own (a copy of the task's, sharing its SSH session). What it
    misses the action prints afterwards, so a failure in here only makes the display less lively.
    """

    def __init__(self, action: ActionBase, path: str, host: str) -> None:
        super().__init__(daemon=True)
        self._action = copy.copy(action)
        self._action._connection = copy.copy(action._connection)
        self._path = path
        self._host = host
        self._ended = threading.Event()
        self.shown = 0

    def run(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            command = "tail -n +%d %s 2>/dev/null || true" % (self.shown + 1, self._path)
            try:
                answer = self._action._low_level_execute_command(command)
            except Exception as exc:  # the connection plugin decides what it raises
                display.vv("Progress is not shown any more: %s" % exc)
                return
            self.show(str(answer.get("stdout", "")).splitlines())

    def show(self, lines: list[str]) -> None:
        """Print lines that follow those already shown."""
        for line in lines:
            display.display("    %s | %s" % (self._host, line))
        self.shown += len(lines)

    def finish(self, lines: list[str]) -> None:
        """Stop following, and print what is left of the whole list."""
        self._ended.set()
        self.join()
        self.show(lines[self.shown :])


def followed(action: ActionBase, task_vars: dict[str, Any], execute: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Run a module and show its lines meanwhile. execute: runs it with a path as ``progress_file``."""
    path = "/run/tamma/progress-%s" % uuid.uuid4().hex
    follower = Follower(action, path, str(task_vars.get("inventory_hostname", "")))
    follower.start()
    result: dict[str, Any] = {}
    try:
        result = execute(path)
    finally:
        follower.finish(result.pop("progress", []))
    return result
