# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody wants to happen before a release, after it, and when it fails: a command, or a webhook that is told."""

from __future__ import annotations

import os
import subprocess
from typing import Any, Callable, Dict, NamedTuple

from ansible_collections.meywd.tamma.plugins.module_utils import outside
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

BEFORE, AFTER, FAILED = "before", "after", "failed"

_WEBHOOK_SECONDS = 30

Progress = Callable[[str, str], None]


class Hooks(NamedTuple):
    """Commands for /bin/sh on the host, each with the facts as TAMMA_* in its environment, and an address for all."""

    before: str = ""
    after: str = ""
    failed: str = ""
    webhook: str = ""
    seconds: float = 300


def run(hooks: Hooks, moment: str, facts: Dict[str, Any], progress: Progress) -> None:
    """Do what is wanted at a moment, BEFORE, AFTER or FAILED.

    Raises OperatorError when the command of BEFORE fails: then nothing is deployed. Later nothing can be kept from
    happening any more, so a failure is only told.
    """
    facts = {**facts, "moment": moment}
    command = {BEFORE: hooks.before, AFTER: hooks.after, FAILED: hooks.failed}[moment]
    if command:
        progress("hook", "the command for '%s'" % moment)
        problem = _command(command, facts, hooks.seconds)
        if problem and moment == BEFORE:
            raise OperatorError(
                "The command that comes before a release (tamma_stack_hooks.before) says no: %s. Nothing was changed."
                % problem
            )
        if problem:
            progress("hook", "the command for '%s' failed: %s" % (moment, problem))
    if hooks.webhook:
        refused = outside.post(hooks.webhook, facts, _WEBHOOK_SECONDS)
        if refused:
            progress("hook", "the webhook does not take it: %s" % refused)


def _command(command: str, facts: Dict[str, Any], seconds: float) -> str:
    """Run a command; return what went wrong."""
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            ["/bin/sh", "-c", command],
            env={**os.environ, **{"TAMMA_" + key.upper(): str(value) for key, value in facts.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it took longer than %d s" % seconds
    except OSError as exc:
        return str(exc)
    if done.returncode == 0:
        return ""
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return "exit status %d%s" % (done.returncode, ", " + lines[-1] if lines else "")
