# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an action plugin lets its module work on a host."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase


def execute(action: ActionBase, name: str, arguments: Mapping[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
    """Run the module *name* of this collection on the task's host and return its result.

    Ansible parses some hundred files to put a module together. Python would look meanwhile for garbage among everything
    that Ansible has loaded, again and again, which takes almost as long. This process ends with the task anyway.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        result: dict[str, Any] = action._execute_module(
            module_name="meywd.tamma." + name, module_args=dict(arguments), task_vars=task_vars
        )
    finally:
        if collects:
            gc.enable()
    return result
