# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out which images a release needs, and lets them be archived."""

from __future__ import annotations

from typing import Any

from ansible_collections.meywd.tamma.plugins.plugin_utils import release_images
from ansible_collections.meywd.tamma.plugins.plugin_utils.action import Action


class ActionModule(Action):
    """The controller's half of M(meywd.tamma.tamma_images_archive)."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if not arguments.get("images"):
            arguments["images"] = release_images.images(arguments, self._find_needle)
        for name in release_images.OPTIONS:
            arguments.pop(name, None)
        result.update(self.execute("tamma_images_archive", arguments, task_vars))
        return result
