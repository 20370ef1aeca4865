# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action of the collection has in common."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

# Options that are commands of the operator's own: they may hold a token, and nobody has to read them in an output.
_COMMANDS = ("before", "after", "failed")


class Action(ActionBase):
    """An action whose module leaves no option in the host's log, and shows no command at any verbosity.

    Ansible would write the representation of the options into the log, in which it recognises no secret with a line
    break, a quote or a backslash.
    """

    def _execute_module(self, *args: Any, task_vars: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        quietly = {**(task_vars or {}), "ansible_no_target_syslog": True}
        result: dict[str, Any] = super()._execute_module(*args, task_vars=quietly, **options)
        hooks = (result.get("invocation") or {}).get("module_args", {}).get("hooks")
        if isinstance(hooks, dict):
            hooks.update({name: "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" for name in _COMMANDS if hooks.get(name)})
        return result
