# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a playbook ended."""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

import yaml

#: What begins to say what went wrong: the operator's sentence, a failed task, a test's own words.
SAYING = re.compile(r"\[ERROR\]: |fatal: \[|> |FAILED |ERROR |CRITICAL |bench: |\S*(Error|Failed|Exception): ")
FOLLOWING, LAST, MOST = 20, 15, 150


def matters(text: str) -> str:
    """The lines of a failed test that matter: what went wrong in it, with what follows, and how it ends."""
    lines = text.splitlines()
    kept, until = [], 0
    for number, line in enumerate(lines):
        if SAYING.match(re.sub(r"^E? +", "", line)):
            until = number + FOLLOWING
        if number < until or number >= len(lines) - LAST:
            kept.append(line[:500])
    return "\n".join(kept[-MOST:])


class Outcome(NamedTuple):
    """How a playbook ended and everything that it printed."""

    status: int
    output: str

    @property
    def unchanged(self) -> bool:
        """Whether every host reported changed=0."""
        return "changed=0" in self.output and "changed=1" not in self.output

    @property
    def told(self) -> str:
        """The sentences with which it failed."""
        return "\n".join(re.findall(r"^\[ERROR\]: (.*?)^fatal: ", self.output, re.MULTILINE | re.DOTALL))

    @property
    def refused(self) -> dict[str, str]:
        """Host → the sentences with which its task failed."""
        results = re.findall(r"^fatal: \[(.+?)\]: FAILED! =>(.*?)(?=^\S)", self.output, re.MULTILINE | re.DOTALL)
        return {host: yaml.safe_load(textwrap.dedent(result))["msg"] for host, result in results}
