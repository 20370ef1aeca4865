# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of the free settings with which a service would die, or never rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

#: Serilog ends the service for any other word.
LEVELS = ("Verbose", "Debug", "Information", "Warning", "Error", "Fatal")
_LEVELS = ("ELSA_LOG_LEVEL", "DOTNET_LOG_LEVEL")
_SWITCHES = ("JWT_REQUIRE_HTTPS",)
_COUNTS = {
    "WORKFLOW_SYNC_INTERVAL": "the .NET API would end, or ask ELSA without a pause",
    "POSTGRES_POOL_SIZE": "ELSA and the .NET API would have no connection to PostgreSQL",
    "ELSA_REPLICAS": "leave ELSA out with tamma_stack_profile: lite instead",
}


def problems(settings: Mapping[str, object]) -> Iterable[str]:
    """Find what no service can live with. Returns a sentence for each."""
    given = {name: str(value) for name, value in settings.items() if str(value)}
    for name in sorted(set(_LEVELS).intersection(given)):
        if given[name] not in LEVELS:
            yield "tamma_stack_environment has %s '%s': give one of %s." % (name, given[name], ", ".join(LEVELS))
    for name, otherwise in sorted(_COUNTS.items()):
        if name in given and not re.fullmatch("0*[1-9][0-9]{0,8}", given[name]):
            yield "tamma_stack_environment has %s '%s': give a number from 1 on, else %s." % (
                name,
                given[name],
                otherwise,
            )
    for name in sorted(set(_SWITCHES).intersection(given)):
        if given[name].lower() not in ("true", "false"):
            yield "tamma_stack_environment has %s '%s': give true or false." % (name, given[name])
    authority = given.get("JWT_AUTHORITY", "")
    insecure = given.get("JWT_REQUIRE_HTTPS", "true").lower() == "false"
    if authority and not authority.startswith(("https://", "http://") if insecure else "https://"):
        yield (
            "tamma_stack_environment has the JWT_AUTHORITY '%s', which is no address with https: every request to the "
            'mentorship API would fail. For tests JWT_REQUIRE_HTTPS: "false" allows one without.' % authority
        )
