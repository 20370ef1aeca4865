# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping secrets out of everything that people and logs see."""

from __future__ import annotations

import json
import re
from typing import Iterable, Iterator, List, Set

from ansible_collections.meywd.tamma.plugins.module_utils.formats import (
    first_rabbitmq_password,
    quote_npgsql,
    quote_url,
    render_rabbitmq_config,
)

MASK = "********"

# Shorter values stand in ordinary text by chance; masking each of those would garble it.
_SHORTEST = 4
# Of a secret of several lines; shorter ones are the end of a key or its header.
_SHORTEST_LINE = 16


class Redactor:
    """Replaces known secrets in text, in the spellings in which they travel."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings: Set[str] = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                spellings.update(_spellings(secret))
            # A key in a file is read, and told, line by line.
            spellings.update(line for line in secret.split("\n")[1:-1] if len(line) >= _SHORTEST_LINE)
        # The longest first, so that a secret that contains another one goes as a whole.
        self._spellings = sorted(spellings, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return *text* with every secret replaced."""
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text


# A setting with the name of an environment variable, in YAML or JSON.
_SETTING = re.compile(
    r"""^[\s{,-]*["']?(?:[A-Za-z][A-Za-z0-9]*_\w+|[A-Z][A-Z0-9]{3,})["']?\s*[:=]\s*(.+?),?\s*$""", re.MULTILINE
)


def settings_in(text: str) -> List[str]:
    """The values of environment variables in a YAML or JSON text: some of them may be secrets.

    Their names have an underscore, or are in capitals: APIKEY.
    """
    return [value.strip("\"'") for value in _SETTING.findall(text)]


def environment_in(text: str) -> List[str]:
    """The values of the environment variables in a Compose file in JSON; nothing of what is none."""
    try:
        services = json.loads(text)["services"].values()
        return [value.replace("$$", "$") for service in services for value in service["environment"].values()]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _spellings(secret: str) -> Iterator[str]:
    """A secret as it stands in .env, JSON, a connection string, a URL and RabbitMQ's files, without outer quotes."""
    first = first_rabbitmq_password(secret)
    yield render_rabbitmq_config({"": first}).partition("<<")[2].partition(">>")[0]
    for spelled in (secret, quote_url(secret), quote_npgsql(secret)[1:-1], first):
        in_json = json.dumps(spelled, ensure_ascii=False)[1:-1]
        yield from (spelled, in_json, spelled.replace("$", "$$"), in_json.replace("$", "$$"))
