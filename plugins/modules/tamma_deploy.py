#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_deploy
short_description: Apply a release of the Tamma stack to a host
version_added: 0.1.0
author: the Tamma collection contributors (@meywd)
description:
  - Compares the wanted files, settings and images with what runs, and does what differs.
    All images are pulled before anything stops, services start in the order of their dependencies, each behind the
    health gate, and published addresses are asked from outside at the end.
  - A database that lacks what the services need runs the stack's init SQL once, and what former versions of this
    collection had put beside the schema C(public) moves there, before any file is written.
  - It keeps no list of services. What the stack is stands in the Compose files, which C(docker compose config) reads.
  - Files that an earlier run wrote and that are no longer wanted are removed, as are containers of services that are no
    longer part of the stack. Volumes are never removed by a deploy.
  - A systemd unit, named C(<project>-stack.service), brings the stack back after a boot and stops it in good order
    before one.
  - A stack that belongs to the host's other engine is refused, with the steps that move it.
options:
  prepare:
    description:
      - Does everything that changes nothing that runs, and no more. The release is planned and checked, its images are
        pulled, and the edge judges its configuration. The deploy that follows has nothing to wait for.
      - An update or a restore that was cut off before is completed first.
    type: bool
    default: false
    version_added: 0.3.0
  rotate:
    description:
      - Names of secrets, such as V(POSTGRES_PASSWORD), that get another value; O(secrets) gives it, or it is made up.
      - PostgreSQL and RabbitMQ are told of theirs while they run, then every service that uses the secret is replaced.
        When one of these does not come up, the former values are put back everywhere.
      - A rotation that was killed is completed by the next run, whatever it asks for.
    type: list
    elements: str
    default: []
  pull:
    description:
      - V(missing) pulls the images that the host does not have, V(always) asks the registry again for every image.
    type: str
    choices: [missing, always]
    default: missing
  carried:
    description:
      - Whether the images have been brought to the host out of an archive. No registry is asked then, and an image that
        is not on the host is refused.
    type: bool
    default: false
    version_added: 0.6.0
  registry_logins:
    description:
      - Logins for registries, used while pulling and not stored on the host.
      - Logins that the host has itself are used as well.
    type: list
    elements: dict
    default: []
    suboptions:
      registry:
        description: The registry's name.
        type: str
        required: true
      username:
        description: The account's name.
        type: str
        required: true
      password:
        description: Its password or token.
        type: str
        required: true
  refuse_placeholders:
    description:
      - Whether secrets that anybody could guess keep the stack off the host, be they given or on the host already.
    type: bool
    default: false
  drain:
    description:
      - Seconds that a container behind the edge has for its open requests and streams once it gets no new ones.
    type: int
    default: 10
  deadline:
    description:
      - Seconds that a service has to become ready.
    type: int
    default: 300
  deadlines:
    description:
      - Seconds for single services, by service name.
    type: dict
    default: {}
  lock_timeout:
    description:
      - Seconds to wait for another operation on this stack to end.
    type: int
    default: 0
  update_mode:
    description:
      - How a release takes the place of another. V(guarded) copies the database inside its server first, while requests
        wait at the edge; V(rolling) replaces the containers by turns. V(auto) guards a release in which a service that
        writes to the database gets another image, and behind the edge one that makes PostgreSQL, or RabbitMQ beside it,
        anew; no other.
    type: str
    choices: [auto, rolling, guarded]
    default: auto
  update_backup:
    description:
      - Whether a guarded update begins with a backup, when repositories are set up.
    type: bool
    default: true
  hold:
    description:
      - Seconds that the edge lets requests wait in a guarded update, before it answers 503.
    type: int
    default: 60
  keep_releases:
    description:
      - How many releases stay on the host, with their images.
    type: int
    default: 5
  hooks:
    description:
      - What happens before a release, after it, and when it fails.
    type: dict
    default: {}
    suboptions:
      before:
        description: A command for C(/bin/sh) on the host. If it fails, nothing is deployed.
        type: str
      after:
        description: A command for the moment when the release serves.
        type: str
      failed:
        description:
          - A command for the moment when it failed; C(TAMMA_OUTCOME) says V(rolled_back), V(stuck), V(incomplete), or
            V(unchanged) if the backup before it failed.
        type: str
      webhook:
        description: An address that is sent the facts as JSON at each of these moments; it may have a token in it.
        type: str
      seconds:
        description: How long a command may take; 300 when not set.
        type: int
  by:
    description:
      - Who deploys, for the history.
    type: str
    default: ""
  origin:
    description:
      - From where, for the history.
    type: str
    default: ""
  reason:
    description:
      - Why, for the history.
    type: str
    default: ""
  digests:
    description:
      - Images with their digests (C(name:tag@sha256:...)) by name and tag, which were found out before. Other ones are
        pinned to what the host has or pulls.
    type: dict
    default: {}
  progress_file:
    description:
      - A file on the host that receives a line for each step. The action plugin follows it; it is removed at the end.
    type: path
extends_documentation_fragment:
  - meywd.tamma.release
  - meywd.tamma.stack
attributes:
  check_mode:
    support: full
    description: Makes the plan and changes nothing. On a host without an engine the plan is made on the controller.
  diff_mode:
    support: full
    description: Shows files line by line, settings and secrets by name only.
  idempotent:
    support: full
    description: A stack that is as wanted, and healthy, is reported as unchanged; O(rotate) always rotates.
"""

EXAMPLES = r"""
- name: The stack runs
  meywd.tamma.tamma_deploy:
    directory: /opt/tamma
    files:
      - path: docker-compose.yml
        src: compose/docker-compose.yml
    compose_files: [docker-compose.yml]
    settings:
      TAMMA_VERSION: 0.2.0
      GITHUB_OWNER: example
      GITHUB_REPO: example
    secrets:
      GITHUB_TOKEN: "{{ vault_github_token }}"
      ANTHROPIC_API_KEY: "{{ vault_anthropic_api_key }}"
    generated_secrets: [POSTGRES_PASSWORD, RABBITMQ_PASSWORD, ELSA_SIGNING_KEY, TAMMA_JWT_SECRET]
"""

RETURN = r"""
plan:
  description: What the deploy does to services, in order, after RV(pulls).
  returned: success
  type: list
  elements: dict
  sample: [{service: tamma-api, action: recreate, reason: its image changed}]
pulls:
  description: Images that are pulled first.
  returned: success
  type: list
  elements: str
  sample: ["ghcr.io/meywd/tamma-api:0.2.0"]
database:
  description: What the stack's database is asked to do first, after RV(pulls).
  returned: success
  type: list
  elements: str
  sample: ["run postgres/init-db.sql in the database tamma of PostgreSQL at database.example.org:5432"]
directories:
  description: Directories of the host that are given to the users who write there, a line for each.
  returned: success
  type: list
  elements: str
  sample: [give /workspace of tamma-engine (volume tamma_tamma-engine-workdir) to the user 1001]
files:
  description: Files that differ, and how.
  returned: success
  type: list
  elements: dict
  sample: [{path: .env, action: update}]
settings:
  description: Names of settings and secrets that were added, changed or removed; never values.
  returned: success
  type: dict
  sample: {added: [], changed: [TAMMA_VERSION], removed: []}
services:
  description: The containers after the deploy.
  returned: success, not in check mode
  type: list
  elements: dict
  sample:
    - {service: tamma-api, container: tamma-tamma-api-1, image: "ghcr.io/meywd/tamma-api:0.2.0", state: running,
       health: healthy, since: "2026-01-01T12:00:00Z", ready: true}
release:
  description: The number of the release that serves now.
  returned: success, not in check mode
  type: int
  sample: 4
version:
  description: The version of Tamma that was asked for.
  returned: success
  type: str
  sample: 0.3.0
former:
  description: The release that served before, its number V(0) if the host has no history yet.
  returned: success
  type: dict
  sample: {number: 3, version: 0.2.0}
mode:
  description: How the release came, or would come; empty when nothing had to be changed.
  returned: success
  type: str
  sample: guarded
comes:
  description: How the release would come, why, and what that costs, for the operator.
  returned: in check mode, when an engine answers
  type: str
  sample: "guarded: tamma-api get another image; the database is copied inside its server (12 MB), about 1 s"
digests:
  description: The images with the digests that they were pinned to, as far as they are known.
  returned: success
  type: dict
  sample: {"ghcr.io/meywd/tamma-api:0.3.0": "ghcr.io/meywd/tamma-api:0.3.0@sha256:0123..."}
needed:
  description: Whether a deploy would change anything but the images that are pulled.
  returned: O(prepare) is true
  type: bool
  sample: true
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 21.4
outcome:
  description:
    - What became of a release that failed, V(rolled_back) or V(stuck); or V(incomplete), if it serves and what is left
      of its deploy failed.
  returned: failure after the stack was touched
  type: str
  sample: rolled_back
timings:
  description: Seconds that each phase took.
  returned: success, not in check mode
  type: dict
  sample: {pull: 12.1, write: 0.0, apply: 11.8, verify: 0.1}
progress:
  description: The lines that were shown while it worked.
  returned: always
  type: list
  elements: str
  sample: ["  0.4 s  apply   postgres: ready (1.2 s)"]
"""

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils import (
    networks,
    on_host,
    restore,
    rotation,
    status,
    stopping,
    update,
)
from ansible_collections.meywd.tamma.plugins.module_utils.boot import Boot
from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Deployment, find_preparation
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.engines import refuse_a_move
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError, of_the_system
from ansible_collections.meywd.tamma.plugins.module_utils.files import FileChange, fingerprint
from ansible_collections.meywd.tamma.plugins.module_utils.history import Entry
from ansible_collections.meywd.tamma.plugins.module_utils.hooks import Hooks
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Lock, lock_file
from ansible_collections.meywd.tamma.plugins.module_utils.plan_result import database_steps, describe
from ansible_collections.meywd.tamma.plugins.module_utils.progress import ProgressFile
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login
from ansible_collections.meywd.tamma.plugins.module_utils.release import (
    Release,
    check_placeholders,
    compare_files,
    environment,
    known_settings,
    settings_on_host,
)
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack


def seconds(service: str, value: Any) -> float:
    """Read a deadline."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise OperatorError(
            "The deadline of %s is '%s': give a number of seconds in tamma_stack_deadlines." % (service, value)
        ) from None


def release(params: Dict[str, Any]) -> Release:
    """Read the module's options."""
    files, hashed = shell.release_files(params)
    settings = {key: shell.setting(value) for key, value in params["settings"].items()}
    settings.update((name, fingerprint(group)) for name, group in hashed.items())
    return Release(
        project=params["project"],
        directory=params["directory"],
        files=files,
        compose_files=params["compose_files"],
        settings=settings,
        secrets={key: str(value) for key, value in params["secrets"].items() if value not in (None, "")},
        generated=params["generated_secrets"],
        pull_always=params["pull"] == "always",
        deadline=params["deadline"],
        deadlines={key: seconds(key, value) for key, value in params["deadlines"].items()},
        drain=params["drain"],
        registry_logins=tuple(Login(**item) for item in params["registry_logins"]),
        refuses_placeholders=params["refuse_placeholders"],
        digests={key: str(value) for key, value in params["digests"].items()},
        carried=params["carried"],
    )


def settings(params: Dict[str, Any]) -> update.Settings:
    """Read the options that say how an update goes."""
    return update.Settings(
        mode=params["update_mode"],
        hold=params["hold"],
        keep=params["keep_releases"],
        backup=params["update_backup"],
        by=params["by"],
        origin=params["origin"],
        reason=params["reason"],
        hooks=Hooks()._replace(**{key: value for key, value in params["hooks"].items() if value is not None}),
    )


def without_engine(wanted: Release) -> Dict[str, Any]:
    """The plan for a host that has no engine yet: files and database; the action plugin adds the services."""
    env = environment(wanted)
    problems = check_placeholders(wanted, env)
    if problems:
        raise OperatorError("\n".join(problems))
    files, settings = compare_files(wanted, env)
    return {
        "changed": True,
        "engine": False,
        "database": database_steps(find_preparation(wanted, env)),
        "directories": [],
        "files": [{"path": change.path, "action": change.action} for change in files],
        "settings": settings,
        "diff": shell.diff_files(files, settings),
        **about(wanted, None, update.FIRST, {}),
    }


def about(wanted: Release, former: Optional[Entry], mode: str, digests: Dict[str, str]) -> Dict[str, Any]:
    """What every result says about the release and the one before it."""
    before = former.version if former else settings_on_host(wanted.directory).get("TAMMA_VERSION", "")
    return {
        "version": wanted.settings.get("TAMMA_VERSION", ""),
        "former": {"number": former.number if former else 0, "version": before},
        "mode": mode,
        "digests": digests,
    }


def with_boot(result: Dict[str, Any], change: Optional[FileChange]) -> Dict[str, Any]:
    """A result of the module with what happens to the unit that starts the stack at a boot."""
    if change is None:
        return result
    return {
        **result,
        "changed": True,
        "files": [*result["files"], {"path": change.path, "action": change.action}],
        "diff": [*result["diff"], *shell.diff_files([change], {})],
    }


def prepare(wanted: Release, turn: update.Update, boot: Boot, resumed: bool) -> Dict[str, Any]:
    """Do what changes nothing that runs. resumed: whether something was completed first."""
    foreseen = turn.prepare(wanted)
    work = foreseen.work
    boot.tell(stopping.of_services(foreseen.planned.project, foreseen.planned.project.services))
    planned = with_boot(describe(foreseen.planned, []), boot.change())
    return {
        **planned,
        "changed": bool(work.pulled) or resumed,
        "needed": planned["changed"] or bool(on_host.unfinished(wanted.directory)),
        "pulls": work.pulled,
        "timings": work.timings,
        # The deploy shows it.
        "diff": [],
        **about(wanted, foreseen.former, foreseen.mode, work.digests),
    }


def deploy(module: AnsibleModule, progress: ProgressFile) -> Dict[str, Any]:
    """Plan and, outside check mode, apply."""
    wanted = release(module.params)
    socket = module.params["engine_socket"]
    refuse_a_move(wanted.project, wanted.directory, socket)
    engine, runner = Engine(socket), shell.runner(module.params)
    boot = Boot(wanted.project, wanted.directory, socket, runner)
    if module.check_mode and (find_compose() is None or not engine.answers()):
        return {**with_boot(without_engine(wanted), boot.change()), "needed": True}
    wanted = wanted._replace(settings={**wanted.settings, **networks.isolation(engine)})
    names = module.params["rotate"]

    def make(what: Release, journal: Optional[rotation.Journal]) -> Deployment:
        return Deployment(what, runner, engine, shell.compose_program(), progress, journal)

    how = settings(module.params)
    turn = update.Update(make, wanted, engine, shell.compose_program(), progress, how)
    if module.check_mode:
        journal = rotation.pending(wanted.directory) or rotation.begin(names, known_settings(wanted), wanted)
        foreseen = turn.foresee(wanted, journal)
        boot.tell(stopping.of_services(foreseen.planned.project, foreseen.planned.project.services))
        result = with_boot(describe(foreseen.planned, [], foreseen.words), boot.change())
        needed = result["changed"] or bool(on_host.unfinished(wanted.directory))
        return {
            **result,
            **about(wanted, foreseen.former, foreseen.mode, foreseen.work.digests),
            "comes": foreseen.words,
            "needed": needed,
        }
    lock = Lock(lock_file(wanted.project), "deploy", module.params["lock_timeout"])
    with on_host.to_its_end(wanted.project, wanted.directory, socket), lock:

        def complete_restore(deploys: bool) -> bool:
            if not restore.pending(wanted.directory):
                return False
            stack = Stack(wanted.project, wanted.directory, engine, shell.compose_program())
            return restore.Restoring(stack, progress, wanted.deadline).resume(deploys)

        resumed = complete_restore(deploys=True)
        resumed = turn.resume(deploys=True) or resumed
        if module.params["prepare"]:
            return prepare(wanted, turn, boot, resumed)
        cut_off = rotation.pending(wanted.directory)
        if cut_off:
            progress("rotate", "a former run was cut off: completing %s" % ", ".join(sorted(cut_off.new)))
            # With the files of this inventory, which may correct what kept the rotation from its end.
            journal = rotation.resumed(cut_off, wanted.secrets)
            first = make(wanted, journal)
            first.verify()
            planned = first.plan()
            if planned.replaced_writers:
                # Another version comes after it, guarded.
                present = turn.present()
                first = make(present._replace(secrets={**present.secrets, **journal.new}), journal)
                planned = first.plan()
            first.apply(planned)
            on_host.log_rotation(wanted.project, turn.history, how.by, how.origin, progress)
            names = [name for name in names if name not in cut_off.new]
        former = turn.history.current()
        planned, work, entry = turn.run(wanted, rotation.begin(names, known_settings(wanted), wanted))
        # What the deploy has corrected kept it from its end.
        complete_restore(deploys=False)
        rows = status.rows(engine, wanted.project, planned.project)
    boot.tell(stopping.of_services(planned.project, planned.project.services))
    change = boot.change()
    if change:
        # Without the lock, which the unit takes itself.
        progress("boot", "%s %s" % (change.action, boot.name))
        try:
            boot.install()
        except (OperatorError, OSError) as exc:
            words = exc.message if isinstance(exc, OperatorError) else of_the_system(exc)
            raise OperatorError(
                "%s\nThe release serves, but nothing starts it at a boot: correct this and run the playbook again."
                % words,
                outcome=update.INCOMPLETE,
            ) from exc
    mode = entry.mode if entry and (former is None or entry.number != former.number) else ""
    result = {
        **describe(planned, work.pulled),
        **about(wanted, former, mode, work.digests),
        "services": [row._asdict() for row in rows],
        "timings": work.timings,
    }
    result["release"] = entry.number if entry else 0
    return with_boot({**result, "changed": result["changed"] or resumed or cut_off is not None}, change)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.ARGUMENTS,
            **shell.RELEASE_ARGUMENTS,
            "pull": {"type": "str", "choices": ["missing", "always"], "default": "missing"},
            "registry_logins": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "registry": {"type": "str", "required": True},
                    "username": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "carried": {"type": "bool", "default": False},
            "prepare": {"type": "bool", "default": False},
            "rotate": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "refuse_placeholders": {"type": "bool", "default": False},
            "drain": {"type": "int", "default": 10},
            "update_mode": {"type": "str", "choices": list(update.MODES), "default": "auto"},
            "hold": {"type": "int", "default": 60},
            "keep_releases": {"type": "int", "default": 5},
            "update_backup": {"type": "bool", "default": True},
            "by": {"type": "str", "default": ""},
            "origin": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": ""},
            "hooks": {
                "type": "dict",
                "default": {},
                "options": {
                    "before": {"type": "str"},
                    "after": {"type": "str"},
                    "failed": {"type": "str"},
                    "webhook": {"type": "str", "no_log": True},
                    "seconds": {"type": "int"},
                },
            },
            "digests": {"type": "dict", "default": {}},
            "deadline": {"type": "int", "default": 300},
            "deadlines": {"type": "dict", "default": {}},
            "lock_timeout": {"type": "int", "default": 0},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    shell.finish_shown(module, lambda progress: deploy(module, progress))


if __name__ == "__main__":
    main()
