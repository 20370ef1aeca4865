#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_teardown
short_description: Take a Tamma stack off a host
version_added: 0.1.0
author: the Tamma collection contributors (@meywd)
description:
  - Stops and removes the stack's containers and networks, dependents first, and the unit that starts it at a boot.
  - Volumes stay, and with them the files in O(directory), unless O(remove_volumes) names the stack. C(.env) holds the
    passwords that the volumes were made with. The audit log in C(/var/log/tamma) goes and stays with them.
options:
  remove_volumes:
    description:
      - The name of the stack whose data shall be deleted as well.
    type: str
    default: ""
extends_documentation_fragment:
  - meywd.tamma.stack
attributes:
  check_mode:
    support: full
    description: Says what would be removed.
  diff_mode:
    support: none
    description: RV(removed) lists what goes, by name.
  idempotent:
    support: full
    description: What is gone already is not a change.
"""

EXAMPLES = r"""
- name: The stack is stopped and removed, its data stays
  meywd.tamma.tamma_teardown:

- name: Nothing is left of the stack
  meywd.tamma.tamma_teardown:
    remove_volumes: tamma
"""

RETURN = r"""
removed:
  description: What was removed, or would be in check mode.
  returned: success
  type: dict
  sample: {containers: [tamma-tamma-api-1], networks: [tamma_tamma-net], volumes: [], files: [], images: [],
           units: [/etc/systemd/system/tamma-stack.service], logs: []}
stopping:
  description: What is lost because services stop, a sentence for each; a warning, too.
  returned: success
  type: list
  elements: str
  sample: ["elsa-server stops: a workflow that is inside an activity then is lost, and one that waits continues"]
stays:
  description: Networks that stay, because somebody else's containers are in them, a sentence for each; a warning, too.
  returned: success
  type: list
  elements: str
  sample: ["The network a_b stays, because login is in it and not of the stack: take that out, and run this again"]
"""

import contextlib
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import audit, removal
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.boot import Boot
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.engines import refuse_a_move
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Lock, lock_file


def tear_down(module: AnsibleModule) -> Dict[str, Any]:
    """Plan and, outside check mode, remove."""
    project, directory = module.params["project"], module.params["directory"]
    refuse_a_move(project, directory, module.params["engine_socket"])
    engine, runner = Engine(module.params["engine_socket"]), shell.runner(module.params)
    boot = Boot(project, directory, module.params["engine_socket"], runner)
    with Lock(lock_file(project), "teardown") if not module.check_mode else contextlib.nullcontext():
        plan = removal.plan(engine, project, directory, module.params["remove_volumes"])
        units = [boot.path] if boot.exists() else []
        logs = audit.present(project) if module.params["remove_volumes"] else []
        for words in (*plan.stopping, *plan.stays):
            module.warn(words + ".")
        changed = any(plan._replace(stays=())) or bool(units) or bool(logs)
        if changed and not module.check_mode:
            if units:
                boot.remove()
            removal.apply(engine, runner, plan, project, directory)
            if logs:
                audit.remove(project)
    removed = {**plan._asdict(), "units": units, "logs": logs}
    del removed["stopping"], removed["stays"]
    return {"changed": changed, "removed": removed, "stopping": list(plan.stopping), "stays": list(plan.stays)}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={**shell.ARGUMENTS, "remove_volumes": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    shell.finish(module, lambda: tear_down(module))


if __name__ == "__main__":
    main()
