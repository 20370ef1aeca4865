#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_validate
short_description: Check the variables of a host on the controller
version_added: 0.1.0
author: the Tamma collection contributors (@meywd)
description:
  - Finds unknown and mistyped variables of the collection, missing ones, values that are too short, settings that no
    service reads, variables of services that the collection sets, text that cannot stand in an environment file or in
    the edge's configuration, and what production refuses.
  - Fails with one sentence for each problem, all of them at once. It does not visit the host.
options:
  required:
    description: Names of variables that must not be empty, and where the operator gets them from.
    type: dict
    default: {}
  forbidden:
    description: Names of variables that must be empty, and why.
    type: dict
    default: {}
  minimum_lengths:
    description: Names of variables and the least number of characters they need when they are set.
    type: dict
    default: {}
  ascii:
    description: Names of variables, or of settings in O(settings), whose service takes nothing but ASCII.
    type: list
    elements: str
    default: []
  secrets:
    description: Secrets by their name in C(.env).
    type: dict
    default: {}
  settings:
    description: Free settings by their name in C(.env).
    type: dict
    default: {}
  settings_table:
    description: The table that O(settings) and O(service_environment) are checked against, below C(files/) of the role.
    type: str
  services:
    description: The services that the stack has.
    type: list
    elements: str
    default: []
  service_environment:
    description: Variables for single services, by service and by their names there.
    type: raw
    default: {}
  github:
    description: The variables with which the stack logs in at GitHub, by their names.
    type: dict
    default: {}
  github_needed:
    description: Whether there has to be a login among O(github).
    type: bool
    default: false
  github_asked:
    description: Whether GitHub is asked for the App among O(github), five seconds at most.
    type: bool
    default: false
  overrides:
    description: What Compose reads last; connection strings in it are looked at.
    type: dict
    default: {}
  shares_postgres:
    description: Whether other hosts of the fleet may use the same external database.
    type: bool
    default: true
  edge:
    description: The variables of the edge, by their names; empty where there is no edge.
    type: dict
    default: {}
  backups:
    description: The variables of backups, by their names without C(tamma_backup_), and whether this is C(production).
    type: dict
    default: {}
  production:
    description: Whether an edge, a login, and secrets that nobody guesses are demanded.
    type: bool
    default: false
  published:
    description: Services of the stack that O(overrides) publish beyond the loopback address.
    type: list
    elements: str
    default: []
  secret_variables:
    description: Names of the variables that hold secrets.
    type: list
    elements: str
    default: []
  webhook:
    description: The address that is told of releases; it may hold a secret.
    type: str
    default: ""
  image_keys:
    description: Whose images run, a list of rules.
    type: list
    elements: dict
    default: []
  names:
    description: Names of stacks, by their variables.
    type: dict
    default: {}
  paths:
    description: Paths on the host, by their variables; an empty one is not set.
    type: dict
    default: {}
  batches:
    description: The steps in which a fleet is updated, each a number of hosts or a share of them.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - meywd.tamma.read_only
"""

EXAMPLES = r"""
- name: The variables make sense
  meywd.tamma.tamma_validate:
    required:
      tamma_stack_github_owner: the organisation or user on GitHub
    minimum_lengths:
      tamma_stack_elsa_signing_key: 32
"""

RETURN = r"""# """
