# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a playbook ended."""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

import yaml


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
