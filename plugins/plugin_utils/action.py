# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action of the collection has in common."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

# Options that are commands of the operator's own: they may hold a token, and nobody has to read them in an output.
_COMMANDS = ("before", "after", "failed")


class Action(ActionBase):
    """An action whose module leaves no option in the host's log, and shows no command at any verbosity.

    Ansible would write the representation of the options into the log, in which it recognises no secret with a line
    break, a quote or a backslash.
    """

    def execute(self, name: str, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module *name* of this collection on the task's host and return its result.

        Ansible parses some hundred files to put a module together. Python would look meanwhile for garbage among
        everything that Ansible has loaded, again and again, which takes almost as long. This process ends with the task
        anyway.
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            return self._execute_module(
                module_name="meywd.tamma." + name, module_args=dict(arguments), task_vars=task_vars
            )
        finally:
            if collects:
                gc.enable()

    def _execute_module(self, *args: Any, task_vars: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        quietly = {**(task_vars or {}), "ansible_no_target_syslog": True}
        result: dict[str, Any] = super()._execute_module(*args, task_vars=quietly, **options)
        hooks = (result.get("invocation") or {}).get("module_args", {}).get("hooks")
        if isinstance(hooks, dict):
            hooks.update({name: "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" for name in _COMMANDS if hooks.get(name)})
        return result
