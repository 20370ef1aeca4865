# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the release on the controller, applies it in one visit, and shows what happens meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.meywd.tamma.plugins.module_utils.module import setting
from ansible_collections.meywd.tamma.plugins.plugin_utils.action import Action
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import Service, services
from ansible_collections.meywd.tamma.plugins.plugin_utils.follower import followed

display = Display()


def _plan_lines(result: dict[str, Any]) -> list[str]:
    """The plan in a module's result, a line for each step."""
    lines = ["%s %s" % (change["action"], change["path"]) for change in result.get("files", [])]
    lines += ["pull %s" % image for image in result.get("pulls", [])]
    lines += result.get("database", [])
    lines += ["%s %s: %s" % (step["action"], step["service"], step["reason"]) for step in result.get("plan", [])]
    if result.get("comes"):
        lines.append("come %s" % result["comes"])
    return lines


class ActionModule(Action):
    """The controller's half of M(meywd.tamma.tamma_deploy)."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments["files"] = [self._with_content(item) for item in arguments.get("files") or []]
        host = str(task_vars.get("inventory_hostname", ""))
        if self._task.check_mode:
            result.update(self._execute(arguments, task_vars))
            if result.get("engine") is False and not result.get("failed"):
                self._plan_here(arguments, result)
        else:
            result.update(
                followed(self, task_vars, lambda path: self._execute({**arguments, "progress_file": path}, task_vars))
            )
        if self._task.check_mode and not self._task.diff:
            for line in _plan_lines(result):
                display.display("    %s | would %s" % (host, line))
        if not self._task.diff:
            result.pop("diff", None)
        return result

    def _execute(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        return self.execute("tamma_deploy", arguments, task_vars)

    def _with_content(self, item: dict[str, Any]) -> dict[str, Any]:
        """Replace ``src`` by the text of that file on the controller."""
        item = dict(item)
        source = item.pop("src", None)
        if (source is None) == (item.get("content") is None):
            raise AnsibleActionFail("%s needs exactly one of src and content." % item.get("path", "A file"))
        if source is not None:
            item["content"] = Path(self._find_needle("files", source)).read_text(encoding="utf-8")
        return item

    def _plan_here(self, arguments: dict[str, Any], result: dict[str, Any]) -> None:
        """Make the plan for a host that has no engine yet, from the same files."""
        found = self._services(arguments)
        result["plan"] = [
            {"service": item.name, "action": "create", "reason": "new, from %s" % item.image} for item in found
        ]
        result["pulls"] = sorted({item.image for item in found})
        steps = _plan_lines({**result, "files": []})
        result.setdefault("diff", []).append({"prepared": "\n".join(steps) + "\n"})

    def _services(self, arguments: dict[str, Any]) -> list[Service]:
        """Read the services of a release on the controller; its files have their contents."""
        every = [*arguments["files"], *(arguments.get("secret_files") or [])]
        texts = {item["path"]: str(item["content"]) for item in every}
        values = {key: setting(value) for key, value in (arguments.get("settings") or {}).items()}
        try:
            return services([texts[name] for name in arguments["compose_files"]], values)
        except (AttributeError, TypeError) as exc:
            raise AnsibleActionFail(
                "tamma_stack_overrides is not an overlay in Compose's form: services is a dictionary of dictionaries."
            ) from exc
