# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that the modules for backups share."""

from __future__ import annotations


class ModuleDocFragment:
    """What every module for backups says about its options."""

    DOCUMENTATION = r"""
options:
  project:
    description:
      - The stack's name. Its backups have to be configured on the host, which the role
        P(meywd.tamma.tamma_backup#role) does.
    type: str
    default: tamma
  repository:
    description:
      - The name of a repository. Empty means every one, or the first where there can be one only.
    type: str
    default: ""
"""
