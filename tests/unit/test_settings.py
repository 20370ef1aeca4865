# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values with which a service would die or never rest are refused, with one sentence each."""

from __future__ import annotations

import pytest

from ansible_collections.meywd.tamma.plugins.plugin_utils.settings import problems


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"WORKFLOW_SYNC_INTERVAL": "0"}, "WORKFLOW_SYNC_INTERVAL '0': give a number from 1 on, else the .NET API"),
        ({"WORKFLOW_SYNC_INTERVAL": -1}, "'-1': give a number"),
        ({"WORKFLOW_SYNC_INTERVAL": "1.5"}, "'1.5': give a number"),
        ({"ELSA_REPLICAS": "0"}, "leave ELSA out with tamma_stack_profile: lite"),
        ({"POSTGRES_POOL_SIZE": "many"}, "POSTGRES_POOL_SIZE 'many'"),
        ({"ELSA_LOG_LEVEL": "Trace"}, "ELSA_LOG_LEVEL 'Trace': give one of Verbose, Debug"),
        ({"DOTNET_LOG_LEVEL": "information"}, "DOTNET_LOG_LEVEL 'information'"),
        ({"JWT_AUTHORITY": "http://login.example.org"}, "which is no address with https"),
        ({"JWT_AUTHORITY": "login.example.org", "JWT_REQUIRE_HTTPS": "false"}, "which is no address with https"),
        ({"JWT_REQUIRE_HTTPS": "no"}, "JWT_REQUIRE_HTTPS 'no': give true or false"),
    ],
)
def test_refused(settings: dict[str, object], words: str) -> None:
    (problem,) = problems(settings)
    assert words in problem


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"WORKFLOW_SYNC_INTERVAL": 1, "ELSA_REPLICAS": "2", "POSTGRES_POOL_SIZE": "", "ELSA_LOG_LEVEL": "Fatal"},
        {"JWT_AUTHORITY": "https://login.example.org/realms/tamma"},
        {"JWT_AUTHORITY": "http://login.test", "JWT_REQUIRE_HTTPS": "False"},
    ],
)
def test_accepted(settings: dict[str, object]) -> None:
    assert list(problems(settings)) == []
