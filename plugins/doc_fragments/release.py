# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that write a release: its files and its settings."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  files:
    description:
      - The stack's files, readable by everybody on the host.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path below O(directory).
        type: str
        required: true
      content:
        description: The file's text. The action plugin fills it from O(files[].src).
        type: str
      src:
        description: A file on the controller, looked for below C(files/) of the role and the playbook.
        type: str
      initial:
        description: Whether it is written only where there is none, because the operator changes it afterwards.
        type: bool
        default: false
      hash_setting:
        description:
          - Name of the setting that receives a hash over all files that name it.
            A label with it recreates the containers that mount them.
        type: str
  secret_files:
    description:
      - Files that may hold secrets. They are written with mode 0600, and C(--diff) does not show their content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path below O(directory).
        type: str
        required: true
      content:
        description: The file's text.
        type: str
        required: true
      owner:
        description:
          - Numeric user id of the file's owner on the host, for a file that a container of that user mounts.
        type: int
      mode:
        description: The file's mode.
        type: str
        choices: ["0600", "0400"]
        default: "0600"
      hash_setting:
        description: As in O(files[].hash_setting).
        type: str
  compose_files:
    description:
      - Which of the files Compose reads, the base first; it becomes C(COMPOSE_FILE) in C(.env).
    type: list
    elements: str
    required: true
  settings:
    description:
      - What C(.env) holds besides secrets.
    type: dict
    default: {}
  secrets:
    description:
      - Secrets for C(.env). An empty one counts as not given.
    type: dict
    default: {}
  generated_secrets:
    description:
      - Names of secrets that are made up when O(secrets) does not give them.
        A value that the host's C(.env) already has is kept.
    type: list
    elements: str
    default: []
"""
