# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator's variables become in the words of Compose and Caddy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.meywd.tamma.plugins.plugin_utils.edge_settings import basic_names
from ansible_collections.meywd.tamma.plugins.plugin_utils.networks import calls_api, published, settled
from ansible_collections.meywd.tamma.plugins.plugin_utils.settings import service_overlay


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {
            "basic_names": basic_names,
            "calls_api": calls_api,
            "published_services": published,
            "service_overlay": service_overlay,
            "settled_networks": settled,
        }
