# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the operator starts other programs: one small class, handed in wherever it is needed."""

from __future__ import annotations

import os
import subprocess
from typing import Dict, List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError


class Result(NamedTuple):
    """What a program did: exit status, standard output and standard error as text."""

    rc: int
    out: str
    err: str


class Runner:
    """Runs programs with a small, known environment.

    Nothing else of the caller's environment is passed on: Compose prefers a variable of its
    environment to the same one in ``.env``, so a GITHUB_TOKEN of root's shell would win.
    """

    def __init__(self, env: Optional[Dict[str, str]] = None) -> None:
        self._env = {
            "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": os.environ.get("HOME", "/root"),
            "LC_ALL": "C.UTF-8",
        }
        self._env.update(env or {})

    def with_env(self, more: Dict[str, str]) -> "Runner":
        """The same with more variables in the programs' environment."""
        return Runner({**self._env, **more})

    def run(
        self,
        argv: List[str],
        cwd: Optional[str] = None,
        stdin: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> Result:
        """Run a program to its end and return its result, whatever its exit status.

        Raises OperatorError when it cannot be started or takes longer than *timeout* seconds.
        """
        try:
            # Not AnsibleModule.run_command: this file also serves the command line on the host.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                argv,
                cwd=cwd,
                env=self._env,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise OperatorError(
                "'%s' did not end within %d seconds." % (" ".join(argv[:3]), timeout or 0), cmd=argv
            ) from exc
        except OSError as exc:
            raise OperatorError("'%s' cannot be run: %s." % (argv[0], exc.strerror), cmd=argv) from exc
        return Result(done.returncode, done.stdout, done.stderr)
