# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a release needs, read on the controller from the stack's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.meywd.tamma.plugins.module_utils.module import setting
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import services

#: The options that say what the stack is; none of them goes to a host.
OPTIONS = ("files", "secret_files", "compose_files", "settings")


def images(arguments: Mapping[str, Any], find: Callable[[str, str], str]) -> list[str]:
    """The images of the services. find: where a file of the role is (``ActionBase._find_needle``)."""
    texts = {}
    for item in [*(arguments.get("files") or []), *(arguments.get("secret_files") or [])]:
        source = item.get("src")
        if item["path"] in arguments["compose_files"]:
            texts[item["path"]] = (
                Path(find("files", source)).read_text(encoding="utf-8") if source else str(item["content"])
            )
    values = {key: setting(value) for key, value in (arguments.get("settings") or {}).items()}
    try:
        found = services([texts[name] for name in arguments["compose_files"]], values)
    except (AttributeError, TypeError) as exc:
        raise AnsibleActionFail(
            "tamma_stack_overrides is not an overlay in Compose's form: services is a dictionary of dictionaries."
        ) from exc
    return sorted({item.image for item in found if item.image})
