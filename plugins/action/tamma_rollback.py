# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes back to a former release, and shows what happens meanwhile."""

from __future__ import annotations

import uuid
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.meywd.tamma.plugins.plugin_utils.follower import Follower


class ActionModule(ActionBase):
    """The controller's half of M(meywd.tamma.tamma_rollback)."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = "/run/tamma/progress-%s" % uuid.uuid4().hex
        follower = Follower(self, path, str(task_vars.get("inventory_hostname", "")))
        follower.start()
        try:
            result.update(
                self._execute_module(
                    module_name="meywd.tamma.tamma_rollback",
                    module_args={**self._task.args, "progress_file": path},
                    task_vars=task_vars,
                )
            )
        finally:
            follower.finish(result.pop("progress", []))
        if not self._task.diff:
            result.pop("diff", None)
        return result
