#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_rollback
short_description: Bring a former release of a Tamma stack back
version_added: 0.3.0
author: the Tamma collection contributors (@meywd)
description:
  - Deploys a release that the host keeps, as a new one, with the images and files of then and the secrets of today.
  - The database goes back as well if a release since then has changed its schema. The copy from before that one takes
    its place, and the present database is kept under another name, with every row that was written since.
  - When the former release does not come up, the present one serves again.
options:
  release:
    description:
      - The number of the release; V(0) is the one before the present one.
    type: int
    default: 0
  by:
    description:
      - Who goes back, for the history.
    type: str
    default: ""
  origin:
    description:
      - From where, for the history.
    type: str
    default: ""
  lock_timeout:
    description:
      - Seconds to wait for another operation on this stack to end.
    type: int
    default: 0
  progress_file:
    description:
      - A file on the host that receives a line for each step. The action plugin follows it; it is removed at the end.
    type: path
extends_documentation_fragment:
  - meywd.tamma.stack
attributes:
  check_mode:
    support: full
    description: Makes the plan and changes nothing.
  diff_mode:
    support: full
    description: Shows files line by line, settings and secrets by name only.
  idempotent:
    support: none
    description: Each run goes one release further back, unless O(release) names one that serves already.
"""

EXAMPLES = r"""
- name: The release before the present one serves again
  meywd.tamma.tamma_rollback:
"""

RETURN = r"""
release:
  description: The number of the release that serves now.
  returned: success, not in check mode
  type: int
  sample: 5
version:
  description: The version of Tamma of that release, or of the one that would serve.
  returned: success
  type: str
  sample: 0.2.0
target:
  description: The release that would be gone back to.
  returned: success, in check mode
  type: dict
  sample: {number: 3, version: 0.2.0}
former:
  description: The release that served before.
  returned: success
  type: dict
  sample: {number: 4, version: 0.3.0}
mode:
  description: How the release came, or would come.
  returned: success
  type: str
  sample: rolling
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 21.4
outcome:
  description:
    - What became of a rollback that failed, V(rolled_back), V(stuck) or V(incomplete), as for
      M(meywd.tamma.tamma_deploy); or V(completed), if something that was cut off was completed first, and nothing
      else was done.
  returned: failure
  type: str
  sample: rolled_back
plan:
  description: What happens to services, in order.
  returned: success
  type: list
  elements: dict
  sample: [{service: tamma-api, action: recreate, reason: its image changed}]
database:
  description: Which copy would take the place of the database, or the backup that it would be made of; empty if none.
  returned: in check mode
  type: str
  sample: tamma_guard_4
kept_as:
  description: Under which name the present database is kept, if another one takes its place.
  returned: success
  type: str
  sample: tamma_guard_5
services:
  description: The containers afterwards.
  returned: success, not in check mode
  type: list
  elements: dict
  sample:
    - {service: tamma-api, container: tamma-tamma-api-1, image: "ghcr.io/meywd/tamma-api:0.2.0", state: running,
       health: healthy, since: "2026-01-01T12:00:00Z", ready: true}
progress:
  description: The lines that were shown while it worked.
  returned: always
  type: list
  elements: str
  sample: ["  0.4 s  apply   postgres: ready (1.2 s)"]
"""

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import doctor, on_host, retained, status
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.history import Entry
from ansible_collections.meywd.tamma.plugins.module_utils.plan_result import describe
from ansible_collections.meywd.tamma.plugins.module_utils.progress import ProgressFile


def known(entry: Optional[Entry]) -> Dict[str, Any]:
    """What a result says about a release."""
    return {"number": entry.number if entry else 0, "version": entry.version if entry else ""}


def go_back(module: AnsibleModule, progress: ProgressFile) -> Dict[str, Any]:
    """Plan and, outside check mode, go back."""
    params = module.params
    place = params["project"], params["directory"], params["engine_socket"]
    host = on_host.OnHost(*place, progress, params["by"], params["origin"])
    if module.check_mode:
        doctor.refuse_the_unfinished(params["project"], params["directory"])
        turn = host.update()
        foreseen = turn.plan_rollback(params["release"])
        target = turn.target(params["release"])
        copy, kept = turn.database_of_rollback(params["release"])
        return {
            **describe(foreseen.planned, []),
            "former": known(foreseen.former),
            "target": known(target),
            "version": target.version,
            "mode": foreseen.mode,
            "database": copy,
            "kept_as": kept,
        }
    with host.to_its_end(), host.locked_to_go_back(params["release"], params["lock_timeout"]):
        former = host.history.current()
        done = host.update().rollback(params["release"])
    rows = status.rows(Engine(params["engine_socket"]), params["project"], done.planned.project)
    return {
        **describe(done.planned, done.work.pulled),
        "former": known(former),
        "release": done.entry.number if done.entry else 0,
        "version": done.entry.version if done.entry else "",
        "mode": done.entry.mode if done.entry else "",
        "kept_as": done.entry.guard if done.entry and retained.is_put_aside(done.entry) else "",
        "services": [row._asdict() for row in rows],
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.ARGUMENTS,
            "release": {"type": "int", "default": 0},
            "by": {"type": "str", "default": ""},
            "origin": {"type": "str", "default": ""},
            "lock_timeout": {"type": "int", "default": 0},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    shell.finish_shown(module, lambda progress: go_back(module, progress))


if __name__ == "__main__":
    main()
