# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an action plugin lets its module work: without a look for garbage meanwhile, and with one afterwards."""

from __future__ import annotations

import gc
from typing import Any, cast

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.meywd.tamma.plugins.plugin_utils.sending import execute


class Action:
    """An action that notes what it is asked to run."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self._failure = failure

    def _execute_module(self, **asked: Any) -> dict[str, Any]:
        self.asked.append({**asked, "collects": gc.isenabled()})
        if self._failure:
            raise self._failure
        return {"changed": False}


def test_the_module_runs_without_a_look_for_garbage() -> None:
    action = Action()
    assert execute(cast("ActionBase", action), "tamma_deploy", {"a": 1}, {"b": 2}) == {"changed": False}
    (asked,) = action.asked
    assert asked == {
        "module_name": "meywd.tamma.tamma_deploy",
        "module_args": {"a": 1},
        "task_vars": {"b": 2},
        "collects": False,
    }
    assert gc.isenabled()


def test_a_failure_leaves_it_as_it_was() -> None:
    with pytest.raises(AnsibleError):
        execute(cast("ActionBase", Action(AnsibleError("gone"))), "tamma_deploy", {}, {})
    assert gc.isenabled()
