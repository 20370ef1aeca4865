#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_bundle
short_description: Write a directory that runs with Docker Compose alone
version_added: 0.2.0
author: the Tamma collection contributors (@meywd)
description:
  - Writes the stack's files, a C(.env) with passwords that are made up, and what the directory needs beside them.
  - It can be run again. A file that is as it was written is renewed; one that was changed stays, and its new version
    is put beside it with the ending C(.new), once. No value in C(.env) is replaced; what is new is added at its end.
  - Shows its steps, what it made and what comes next on the controller.
options:
  project:
    description: The stack's name, which is its Compose project name.
    type: str
    default: tamma
  directory:
    description: The bundle's directory.
    type: path
    required: true
  given:
    description: Names of the variables that the bundle is made with, which the next run must be given as well.
    type: list
    elements: str
    default: []
  variables:
    description: Values of O(given) that are no secrets, for the next run.
    type: dict
    default: {}
  needed:
    description: Settings that have to be filled in before everything works, and what they are.
    type: dict
    default: {}
  next_steps:
    description: What to do after O(needed) is filled in, in order.
    type: list
    elements: str
    default: []
  force:
    description: Whether to take a directory that holds something else, and to forget variables that it was made with.
    type: bool
    default: false
extends_documentation_fragment:
  - meywd.tamma.release
attributes:
  check_mode:
    support: full
    description: Shows what would be written.
  diff_mode:
    support: full
    description: Of files that may hold secrets, only that they change; of C(.env) the names of its settings.
  idempotent:
    support: full
    description: A second run changes nothing.
"""

EXAMPLES = r"""
- name: A bundle of one file
  meywd.tamma.tamma_bundle:
    directory: /home/me/tamma
    files:
      - path: docker-compose.yml
        src: compose/docker-compose.yml
      - path: .env.example
        src: env.example
    compose_files: [docker-compose.yml]
    generated_secrets: [POSTGRES_PASSWORD]
"""

RETURN = r"""
files:
  description: What was done, by file; C(keep) is one that its owner changed.
  returned: success
  type: list
  elements: dict
  sample: [{path: docker-compose.yml, action: create}]
beside:
  description: Changed files whose new version was put beside them.
  returned: success
  type: list
  elements: str
  sample: [nginx/default.conf.template]
missing:
  description: Settings that have to be filled in.
  returned: success
  type: list
  elements: str
  sample: [GITHUB_TOKEN]
stays:
  description: Settings for which C(.env) keeps another value than the given one.
  returned: success
  type: list
  elements: str
  sample: [TAMMA_VERSION]
settings:
  description: Names of the settings in C(.env) that were added and changed.
  returned: success
  type: dict
  sample: {added: [TAMMA_VERSION], changed: [], removed: []}
"""

import os
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import bundle
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release


def wanted(params: Dict[str, Any]) -> bundle.Bundle:
    """Read the module's options."""
    files, hashed = shell.release_files(params)
    if os.geteuid():
        # Nobody but root can give a file away; the next steps say who has to own it.
        files = [item._replace(owner=None) for item in files]
    release = Release(
        project=params["project"],
        directory=os.path.abspath(params["directory"]),
        # A script is what somebody starts.
        files=[item._replace(mode=0o755) if item.content.startswith("#!") else item for item in files],
        compose_files=params["compose_files"],
        settings={key: shell.setting(value) for key, value in params["settings"].items()},
        secrets={key: shell.setting(value) for key, value in params["secrets"].items()},
        generated=params["generated_secrets"],
        pull_always=False,
        deadline=0,
        deadlines={},
    )
    return bundle.Bundle(release, hashed, params["given"], params["variables"], params["force"])


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.RELEASE_ARGUMENTS,
            "project": shell.ARGUMENTS["project"],
            "directory": {"type": "path", "required": True},
            "given": {"type": "list", "elements": "str", "default": []},
            "variables": {"type": "dict", "default": {}},
            "needed": {"type": "dict", "default": {}},
            "next_steps": {"type": "list", "elements": "str", "default": []},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )

    def work() -> Dict[str, Any]:
        wish = wanted(module.params)
        planned = bundle.plan(wish)
        if not module.check_mode:
            bundle.write(wish, planned)
        return {
            "changed": bool(planned.changes),
            "files": [
                *({"path": change.path, "action": change.action} for change in planned.changes),
                *({"path": path, "action": "keep"} for path in planned.kept),
            ],
            "beside": planned.beside,
            "missing": [name for name in module.params["needed"] if not planned.values.get(name)],
            "stays": planned.stays,
            "settings": planned.settings,
            "diff": shell.diff_files(planned.changes, planned.settings),
        }

    shell.finish(module, work)


if __name__ == "__main__":
    main()
