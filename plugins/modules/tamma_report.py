#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_report
short_description: Show rows as a table
version_added: 0.1.0
author: the Tamma collection contributors (@meywd)
description:
  - Prints a table and lines on the controller, whatever callback plugin is in use.
options:
  columns:
    description: The keys to show, in order; they are the headings as well.
    type: list
    elements: str
    required: true
  rows:
    description: One dictionary for each row.
    type: list
    elements: dict
    required: true
  lines:
    description: Text to print after the table.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - meywd.tamma.read_only
"""

EXAMPLES = r"""
- name: The services of every host
  meywd.tamma.tamma_report:
    columns: [host, service, health]
    rows:
      - {host: tamma1, service: tamma-api, health: healthy}
  run_once: true
"""

RETURN = r"""# """
