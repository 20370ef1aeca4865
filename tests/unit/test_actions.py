# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No action leaves its module's options in a log."""

from __future__ import annotations

import gc
import importlib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.meywd.tamma.plugins.action.tamma_preflight import holds_login
from ansible_collections.meywd.tamma.plugins.plugin_utils.action import Action

ACTIONS = sorted(path.stem for path in (Path(__file__).parents[2] / "plugins/action").glob("*.py"))
# They never leave the controller.
HERE = {"tamma_report", "tamma_validate"}


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_that_starts_a_module_is_quiet(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.meywd.tamma.plugins.action.{name}")
    assert issubclass(module.ActionModule, Action) != (name in HERE)
    assert name in HERE or module.ActionModule._execute_module is Action._execute_module


def test_a_module_is_started_without_a_log_and_shows_no_command() -> None:
    asked: dict[str, Any] = {}

    def execute(_self: ActionBase, **options: Any) -> dict[str, Any]:
        asked.update(options)
        given = {"before": "curl -H 'token: t' x", "after": None, "seconds": 3}
        return {"invocation": {"module_args": {"hooks": given}}}

    with mock.patch.object(ActionBase, "_execute_module", execute):
        result = Action._execute_module(mock.Mock(spec=Action), module_name="x", task_vars={"a": 1})
    assert asked["task_vars"] == {"a": 1, "ansible_no_target_syslog": True}
    assert result["invocation"]["module_args"]["hooks"] == {
        "before": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER",
        "after": None,
        "seconds": 3,
    }


class Started(Action):
    """An action that notes how its module is started."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self._failure = failure

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        raise NotImplementedError

    def _execute_module(self, **asked: Any) -> dict[str, Any]:  # type: ignore[override]
        self.asked.append({**asked, "collects": gc.isenabled()})
        if self._failure:
            raise self._failure
        return {"changed": False}


def test_the_module_runs_without_a_look_for_garbage() -> None:
    action = Started()
    assert action.execute("tamma_deploy", {"a": 1}, {"b": 2}) == {"changed": False}
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
        Started(AnsibleError("gone")).execute("tamma_deploy", {}, {})
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("content", "hidden"),
    [
        ({"proxies": {"http-proxy": "http://user:pa/ss@proxy:3128"}}, True),
        ({"proxies": {"http-proxy": "http://proxy:3128"}, "labels": ["a@b"]}, False),
        ({}, False),
    ],
)
def test_a_proxys_login_is_hidden(content: dict[str, Any], hidden: bool) -> None:
    assert holds_login({"host": {"daemon_config": {"content": content}}}) == hidden
