# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the person at the terminal for what a bundle needs and nobody has given.

Not with a play's vars_prompt: that asks for everything that is not an extra variable, whatever the
inventory, the environment and the bundle itself know, and without a terminal it warns and makes
the text "None" of an answer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display

from ansible_collections.meywd.tamma.plugins.plugin_utils.action import Action

display = Display()

_SPECS = Path(__file__).resolve().parents[2] / "roles/tamma_stack/meta/argument_specs.yml"


def holds_secret(option: dict[str, Any]) -> bool:
    """Whether a role's option is a secret or has one inside."""
    return bool(option.get("no_log")) or any(map(holds_secret, (option.get("options") or {}).values()))


def prompt(question: dict[str, Any]) -> str:
    """What the person reads."""
    return "%s, %s (%sEnter: later):" % (
        question["setting"],
        question["what"],
        "not shown; " if question["hidden"] else "",
    )


class ActionModule(Action):
    """The controller's half of M(meywd.tamma.tamma_bundle_ask)."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = {
            "variable": {"type": "str", "required": True},
            "setting": {"type": "str", "required": True},
            "what": {"type": "str", "required": True},
            "hidden": {"type": "bool", "default": False},
        }
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "questions": {"type": "list", "elements": "dict", "default": [], "options": options},
                "in_env": {"type": "list", "elements": "str", "default": []},
                "ask": {"type": "bool", "default": True},
                "force": {"type": "bool", "default": False},
            }
        )
        questions = arguments["questions"]
        specs = yaml.safe_load(_SPECS.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
        in_env = {*arguments["in_env"], *(question["variable"] for question in questions)}
        given = sorted(name for name in specs if name in task_vars and name not in in_env)
        result.update(
            self.execute(
                "tamma_bundle_ask",
                {
                    "directory": self._directory(arguments["directory"]),
                    "questions": questions,
                    "given": given,
                    "force": arguments["force"],
                },
                task_vars,
            )
        )
        if result.get("failed"):
            return result
        # What was answered is nobody else's to see, at any verbosity; a refusal is.
        return {
            **result,
            "answers": self._answers(questions, result["known"], task_vars, arguments["ask"]),
            "given": given,
            "variables": {
                name: self._templar.template(task_vars[name]) for name in given if not holds_secret(specs[name])
            },
            "_ansible_no_log": True,
        }

    def _answers(
        self, questions: list[dict[str, Any]], known: dict[str, Any], task_vars: dict[str, Any], ask: bool
    ) -> dict[str, str]:
        """A value for each variable: given, known from ``.env``, in the environment, or typed now."""
        interactive = ask and not self._task.check_mode
        answers = {}
        for question in questions:
            name, setting = question["variable"], question["setting"]
            given = self._templar.template(task_vars[name]) if name in task_vars else ""
            told = "" if question["hidden"] else known.get(setting)
            answer = str(given or told or os.environ.get(setting) or "")
            if interactive and not answer and setting not in known:
                try:
                    answer = display.prompt_until(prompt(question), private=question["hidden"]).decode().strip()
                except AnsiblePromptNoninteractive:
                    interactive = False
                except AnsiblePromptInterrupt as exc:
                    raise AnsibleActionFail("Interrupted: nothing was written.") from exc
            answers[name] = answer
        return answers

    def _directory(self, path: str) -> str:
        """A relative path starts where Ansible was started; on another host it would mean nothing."""
        if os.path.isabs(path):
            return path
        if self._connection.transport != "local":
            raise AnsibleActionFail("tamma_bundle_directory is '%s': give an absolute path on another host." % path)
        return os.path.abspath(path)
