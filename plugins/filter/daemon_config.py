# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How wanted settings join the ones that are already in Docker's daemon.json."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: daemon_config
short_description: Merge settings into the content of Docker's daemon.json
positional: wanted, swarm
version_added: "0.1.0"
author:
  - the Tamma collection contributors (@meywd)
description:
  - Keeps every setting that is there and not wanted otherwise.
  - Dictionaries are merged. The lists C(registry-mirrors) and C(insecure-registries) are united. Any other
    value is replaced by the wanted one.
  - C(log-opts) that only file logs know (C(max-size), C(max-file)) are left out when another C(log-driver)
    is in use, and C(live-restore) is left out in a swarm, because the engine would not start with them.
options:
  _input:
    description: The content that is there.
    type: dict
    required: true
  wanted:
    description: The settings that are wanted.
    type: dict
    required: true
  swarm:
    description: Whether the engine is part of a swarm.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep the user's settings and add ours
  ansible.builtin.debug:
    msg: "{{ {'dns': ['192.0.2.1']} | meywd.tamma.daemon_config({'live-restore': true}) }}"
"""

RETURN = r"""
_value:
  description:
    - C(content) is the merged content, C(differences) the names of the settings that differ from what is
      there, and C(restart) whether the engine has to be restarted for one of them, because it does not take
      it over on a reload.
  type: dict
  sample:
    content: {dns: [192.0.2.1], live-restore: true}
    differences: [live-restore]
    restart: false
"""

from typing import Any, Callable, Dict

UNITED = ("insecure-registries", "registry-mirrors")
FILE_LOG_DRIVERS = ("json-file", "local")
FILE_LOG_OPTIONS = ("max-size", "max-file")

# What dockerd takes over on SIGHUP, of the settings that this collection or its users are likely to set.
RELOADED = (
    "debug",
    "features",
    "insecure-registries",
    "labels",
    "live-restore",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "registry-mirrors",
    "shutdown-timeout",
)


def merge(current: Dict[str, Any], wanted: Dict[str, Any]) -> Dict[str, Any]:
    """The current settings with the wanted ones in them; neither argument is changed."""
    merged = dict(current)
    for key, value in wanted.items():
        there = current.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            merged[key] = merge(there, value)
        elif key in UNITED:
            merged[key] = list(there or []) + [item for item in value if item not in (there or [])]
        else:
            merged[key] = value
    # A list that nobody filled says nothing.
    return {key: value for key, value in merged.items() if key in current or key not in UNITED or value}


def startable(merged: Dict[str, Any], wanted: Dict[str, Any], swarm: bool) -> Dict[str, Any]:
    """The wanted settings without those that keep the engine from starting beside the merged ones."""
    rest = dict(wanted)
    if swarm:
        rest.pop("live-restore", None)
    if merged.get("log-driver", "json-file") not in FILE_LOG_DRIVERS:
        options = wanted.get("log-opts", {})
        rest["log-opts"] = {key: value for key, value in options.items() if key not in FILE_LOG_OPTIONS}
    return {key: value for key, value in rest.items() if key != "log-opts" or value}


def daemon_config(current: Dict[str, Any], wanted: Dict[str, Any], swarm: bool = False) -> Dict[str, Any]:
    """The merged content, which settings of it are new, and whether they need a restart."""
    content = merge(current, startable(merge(current, wanted), wanted, swarm))
    differences = sorted(key for key in content if key not in current or content[key] != current[key])
    return {
        "content": content,
        "differences": differences,
        "restart": any(key not in RELOADED for key in differences),
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"daemon_config": daemon_config}
