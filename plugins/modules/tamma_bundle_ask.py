#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_bundle_ask
short_description: Ask for what a bundle still needs
version_added: 0.2.0
author: the Tamma collection contributors (@meywd)
description:
  - Looks at the directory of a bundle, refuses one that must not be written to, and asks at the terminal for settings
    that neither a variable, nor the controller's environment, nor the bundle's C(.env) has.
  - Without a terminal, and in check mode, nothing is asked. Nothing is written.
options:
  directory:
    description: The bundle's directory. A relative path starts where Ansible was started.
    type: path
    required: true
  questions:
    description: What may be asked, in order.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: The variable that holds the value.
        type: str
        required: true
      setting:
        description: Its name in C(.env) and in the controller's environment.
        type: str
        required: true
      what:
        description: What it is, in words.
        type: str
        required: true
      hidden:
        description: Whether the answer is not shown while it is typed.
        type: bool
        default: false
  in_env:
    description: Further variables that C(.env) keeps, so that the bundle need not remember them.
    type: list
    elements: str
    default: []
  ask:
    description: Whether to ask at all.
    type: bool
    default: true
  given:
    description: The names of the variables that this run was given. The action plugin finds them.
    type: list
    elements: str
    default: []
  force:
    description: Whether to take a directory that holds something else, and to forget variables that it was made with.
    type: bool
    default: false
extends_documentation_fragment:
  - meywd.tamma.read_only
"""

EXAMPLES = r"""
- name: What a bundle needs
  meywd.tamma.tamma_bundle_ask:
    directory: ./tamma
    questions:
      - variable: tamma_stack_github_token
        setting: GITHUB_TOKEN
        what: a GitHub token with write access to the repository
        hidden: true
  register: asked
"""

RETURN = r"""
directory:
  description: The directory by its absolute path.
  returned: success
  type: str
  sample: /home/me/tamma
answers:
  description: Variable → its value, given or typed, empty when there is none. The result is hidden because of it.
  returned: success
  type: dict
  sample: {tamma_stack_github_owner: example}
given:
  description: The names of the stack's variables that the run was given, without those that C(.env) keeps.
  returned: success
  type: list
  elements: str
  sample: [tamma_stack_profile]
variables:
  description: The values of RV(given), without secrets.
  returned: success
  type: dict
  sample: {tamma_stack_profile: production}
known:
  description: The asked settings that have a value in the bundle's C(.env); a hidden one is C(true).
  returned: success
  type: dict
  sample: {GITHUB_OWNER: example, GITHUB_TOKEN: true}
"""

import os
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.bundle import look


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "questions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "variable": {"type": "str", "required": True},
                    "setting": {"type": "str", "required": True},
                    "what": {"type": "str", "required": True},
                    "hidden": {"type": "bool", "default": False},
                },
            },
            "in_env": {"type": "list", "elements": "str", "default": []},
            "ask": {"type": "bool", "default": True},
            "given": {"type": "list", "elements": "str", "default": []},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )

    def work() -> Dict[str, Any]:
        directory = os.path.abspath(module.params["directory"])
        settings = look(directory, module.params["given"], module.params["force"]).settings
        known: Dict[str, Any] = {
            # Of a secret only that it is there.
            question["setting"]: True if question["hidden"] else settings[question["setting"]]
            for question in module.params["questions"]
            if question["setting"] in settings
        }
        return {"changed": False, "directory": directory, "known": known}

    shell.finish(module, work)


if __name__ == "__main__":
    main()
