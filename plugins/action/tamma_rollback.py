# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes back to a former release, and shows what happens meanwhile."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ansible_collections.meywd.tamma.plugins.module_utils.plan_result import rollback_lines
from ansible_collections.meywd.tamma.plugins.plugin_utils.action import Action
from ansible_collections.meywd.tamma.plugins.plugin_utils.follower import followed

display = Display()


class ActionModule(Action):
    """The controller's half of M(meywd.tamma.tamma_rollback)."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)

        def roll_back(path: str) -> dict[str, Any]:
            return self.execute("tamma_rollback", {**self._task.args, "progress_file": path}, task_vars)

        result.update(followed(self, task_vars, roll_back))
        if self._task.check_mode and "target" in result:
            target = result["target"]
            told = {**result, "release": target["number"], "version": target["version"]}
            for line in rollback_lines(told):
                display.display("    %s | %s" % (task_vars.get("inventory_hostname", ""), line))
        if not self._task.diff:
            result.pop("diff", None)
        return result
