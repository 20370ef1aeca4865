#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_info
short_description: Tell how a Tamma stack is
version_added: 0.1.0
author: the Tamma collection contributors (@meywd)
description:
  - Lists the stack's containers with their state and health, and the services that have none, asks the published
    addresses, and tells how its backups stand, which releases it had, and which one serves.
options:
  watch:
    description:
      - Seconds for which the stack is looked at again every few seconds. It ends at the first trouble that is there at
        two looks, and at the first container that was started again.
    type: int
    default: 0
    version_added: 0.3.0
  able:
    description:
      - Whether to look for what keeps the stack from its work, though its services may be healthy. See RV(able).
    type: bool
    default: false
    version_added: 0.5.0
extends_documentation_fragment:
  - meywd.tamma.stack
  - meywd.tamma.read_only
"""

EXAMPLES = r"""
- name: How the stack is
  meywd.tamma.tamma_info:
  register: stack

- name: Whether it stays well for five minutes
  meywd.tamma.tamma_info:
    watch: 300
  register: stack
"""

RETURN = r"""
engine:
  description: The engine that the stack runs on, docker or podman; also the name of its program.
  returned: success
  type: str
  sample: docker
services:
  description: One entry for each container, and for each service without one.
  returned: success
  type: list
  elements: dict
  sample:
    - {service: tamma-api, container: tamma-tamma-api-1, image: "ghcr.io/meywd/tamma-api:0.2.0", state: running,
       health: healthy, since: "2026-01-01T12:00:00Z", ready: true}
endpoints:
  description: The published addresses that prove a service, and what is wrong with those that do not answer.
  returned: success
  type: list
  elements: dict
  sample: [{service: tamma-api, url: "http://127.0.0.1:3100/api/health", problem: ""}]
backups:
  description: When a backup, drill, check and prune last went well in each repository, and what failed or is overdue.
  returned: success
  type: dict
  contains:
    repositories:
      description: One entry for each repository; none when no backups are configured.
      type: list
      elements: dict
      sample: [{repository: local, last_backup: "2026-01-01T02:30:00Z", last_drill: "", last_check: "", last_prune: ""}]
    problems:
      description: A sentence for each.
      type: list
      elements: str
      sample: []
notes:
  description: What is odd about the stack, though it is well, such as a second container that does everything twice.
  returned: success
  type: list
  elements: str
  sample: []
able:
  description:
    - With O(able), what keeps the stack from its work, though its services may be healthy. The engine lacks its agent
      or a place to write, GitHub refuses the token, the .NET API has no tables, workflows do not arrive.
    - C(severity) is V(problem), or V(advice) for what nobody knows.
  returned: success
  type: list
  elements: dict
  sample: [{severity: problem, words: "GitHub refuses the token: it is wrong, expired or revoked."}]
restarted:
  description: The services with a container that was started again while the stack was watched.
  returned: success
  type: list
  elements: str
  sample: []
release:
  description: The number of the release that serves; 0 before the first.
  returned: success
  type: int
  sample: 4
releases:
  description:
    - The history, oldest first, with the releases that failed. What served once can be gone back to.
    - C(way_back) says from what a rollback to it would bring the database back, by the records on the host, V(copy) or
      V(backup); V(not needed) if its schema is the same since; V(none) if such a rollback is refused; empty for the
      release that serves and for those that never served.
  returned: success
  type: list
  elements: dict
  sample:
    - {number: 3, time: "2026-01-01T11:00:00Z", by: alice, origin: laptop, reason: "", version: 0.1.0, outcome: serves,
       serves: false, mode: first, seconds: 41.2, problem: "", guard: "", way_back: copy}
    - {number: 4, time: "2026-01-01T12:00:00Z", by: alice, origin: laptop, reason: "", version: 0.2.0, outcome: serves,
       serves: true, mode: guarded, seconds: 23.1, problem: "", guard: tamma_guard_4, way_back: ""}
pending:
  description: What was cut off and not completed yet, a sentence for each; nothing as long as somebody is at it.
  returned: success
  type: list
  elements: str
  sample: []
busy:
  description: Who works on the stack at this moment; empty for nobody.
  returned: success
  type: str
  sample: an update (process 4242, since 14:02:11)
failure:
  description: That the last release failed, and why; empty otherwise.
  returned: success
  type: str
  sample: ""
healthy:
  description:
    - Whether the stack is there, every container is ready and every address answers.
    - With O(watch) it stayed so, and no container was started again.
  returned: success
  type: bool
  sample: true
"""

import os
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import doctor, outside, status, watch
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, endpoints, find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.engines import refuse_a_move
from ansible_collections.meywd.tamma.plugins.module_utils.release import ENV_FILE


def watched(params: Dict[str, Any]) -> Dict[str, Any]:
    """Look once, or for as long as the operator wants; then, if that is wanted, whether the stack can do its work."""
    seen = watch.watch(lambda: inform(params), params["watch"])
    found = doctor.able(params["project"], params["directory"], params["engine_socket"]) if params["able"] else []
    return {**seen, "able": [item._asdict() for item in found]}


def inform(params: Dict[str, Any]) -> Dict[str, Any]:
    """Collect what the module returns; a host without an engine or stack has no services."""
    refuse_a_move(params["project"], params["directory"], params["engine_socket"])
    engine = Engine(params["engine_socket"])
    program = find_compose()
    directory = params["directory"]
    project = None
    if program and os.path.exists(os.path.join(directory, ENV_FILE)):
        project = Compose(shell.runner(params), program, directory, params["project"]).outline()
    rows = status.rows(engine, params["project"], project) if engine.is_there() else []
    found = [
        {"service": endpoint.service, "url": endpoint.url, "problem": outside.ask(endpoint.url, at=endpoint.at) or ""}
        for service in (project.services.values() if project else ())
        for endpoint in endpoints(service)
    ]
    return {
        "changed": False,
        "engine": engine.kind,
        "services": [row._asdict() for row in rows],
        "notes": status.notes(engine, params["project"]) if engine.is_there() else [],
        "endpoints": found,
        "backups": doctor.overview(params["project"]),
        **doctor.releases(params["project"], directory),
        "restarted": [],
        "healthy": bool(rows) and all(row.ready for row in rows) and not any(item["problem"] for item in found),
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.ARGUMENTS,
            "watch": {"type": "int", "default": 0},
            "able": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    shell.finish(module, lambda: watched(module.params))


if __name__ == "__main__":
    main()
