# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options and attributes that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  project:
    description:
      - The stack's name, which is its Compose project name.
    type: str
    default: tamma
  directory:
    description:
      - Absolute path of the stack's directory on the host.
    type: path
    default: /opt/tamma
  engine_socket:
    description:
      - The container engine's API socket on the host. Podman's is C(/run/podman/podman.sock).
    type: path
    default: /var/run/docker.sock
"""
