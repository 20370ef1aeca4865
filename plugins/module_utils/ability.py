# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a stack can do its work. Its services are healthy without an agent, a token, tables, or a place to write."""

from __future__ import annotations

import contextlib
import os
import time
from typing import List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import gate, github, limits, ownership
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.elsa import addresses_of, ask
from ansible_collections.meywd.tamma.plugins.module_utils.engine import of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import read
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# On the service whose engine works on issues: the program that does the work.
AGENT_LABEL = "tamma.agent"

# In `.env`: "false" asks nobody outside.
SWITCH = "TAMMA_CHECK_GITHUB"
# Below the project directory.
APP_KEY = "github/app.pem"

_LOOK_SECONDS = 20.0
_ASK_SECONDS = 3.0
# The sync comes every 30 seconds, and tamma-api forgets what it brought with each start.
_SYNC_SECONDS = 120.0

# What the .NET API reads.
_TABLES = ("junior_developers", "mentorship_events", "mentorship_sessions", "stories")

# Of the engine inside tamma-api, when it does nothing at this moment.
_IDLE = "IDLE"
# What it writes at the end of each look at the issues, at level info; so many seconds apart, and for a look.
_LOOKED = "Polling for next issue"
_INTERVAL_SECONDS, _LOOKING_SECONDS = 300, 60
# Enough of them: the API writes two lines for each request.
_LOG_LINES = 20_000

_IMAGES = {"tamma-engine": "ENGINE_IMAGE", "tamma-api": "API_IMAGE"}

# As the user of the service. Another agent than this one may be named, in a variable or in the file.
_LOOK = """
agent=$1; shift
case ${TAMMA_AGENT_PROVIDER:-} in ''|anthropic|claude*) ;; *) agent= ;; esac
grep -qs '"provider' /app/tamma.config.json && agent=
[ -z "$agent" ] || command -v "$agent" >/dev/null 2>&1 || echo 'no agent'
for place in "$@"; do
  made=$(mktemp "$place/.tamma-check.XXXXXX" 2>/dev/null) && rm -f "$made" || echo "no $place"
done
echo looked
"""


class Finding(NamedTuple):
    """One thing: severity is "problem" or "advice"."""

    severity: str
    words: str


def examine(stack: Stack) -> List[Finding]:
    """What keeps a stack from its work, though its services may be healthy; changes nothing."""
    found: List[Finding] = []
    for look in (engine, beside, login, tables, sync):
        # One that fails has a finding of its own elsewhere, and hides none of the others.
        with contextlib.suppress(OperatorError):
            found += look(stack)
    return found


def login(stack: Stack) -> List[Finding]:
    """Ask GitHub about the token of the stack, or about its App."""
    known = stack.settings
    owner, repository = known.get("GITHUB_OWNER", ""), known.get("GITHUB_REPO", "")
    if known.get(SWITCH, "").lower() == "false" or not (owner and repository):
        return []
    key = read(os.path.join(stack.directory, APP_KEY))
    found: List[github.Verdict] = []
    if known.get("GITHUB_TOKEN"):
        found = github.token(known["GITHUB_TOKEN"], owner, repository)
    elif key:
        numbers = (known.get("GITHUB_APP_ID", ""), known.get("GITHUB_APP_INSTALLATION_ID", ""))
        found = github.app(*numbers, key, owner, repository)
    return [Finding("problem" if one.problem else "advice", one.words) for one in found]


def worker(project: Project) -> Optional[str]:
    """The service whose engine works on issues; None before the first deploy that says so."""
    return next((name for name, item in sorted(project.services.items()) if item.labels.get(AGENT_LABEL)), None)


def engine(stack: Stack) -> List[Finding]:
    """Look whether the engine has its agent, and can write where it works."""
    name = worker(stack.project)
    running = stack.running(name) if name else []
    if name is None or not running:
        return []
    labels = stack.project.services[name].labels
    mounts = (stack.engine.container(running[0]["Id"]) or {}).get("Mounts") or []
    mounted = {item.get("Destination") for item in mounts}
    places = [place for place in labels.get(ownership.LABEL, "").split() if place in mounted]
    try:
        look = ("exec", "-T", name, "sh", "-c", _LOOK, "sh", labels[AGENT_LABEL], *places)
        lines = stack.compose.run(*look, timeout=_LOOK_SECONDS).out.splitlines()
    except OperatorError:
        lines = []
    if "looked" not in lines:
        return [Finding("advice", "Nobody could look into %s: see 'tammactl logs %s'." % (name, name))]
    found = []
    if "no agent" in lines:
        found.append(
            Finding(
                "problem",
                "The image of %s has no program %s, so no issue is worked on, and each is commented on again and "
                "again: name an image that has it (%s in tamma_stack_environment), and until then stop this one "
                "('%s compose stop %s' in %s)."
                % (
                    *(name, labels[AGENT_LABEL], _IMAGES.get(name, "another one")),
                    *(stack.engine.kind, name, stack.directory),
                ),
            )
        )
    return found + [
        Finding(
            "problem",
            "%s cannot write to %s as its own user: run site.yml, which gives that directory to it." % (name, place),
        )
        for place in places
        if "no " + place in lines
    ]


def beside(stack: Stack) -> List[Finding]:
    """Look whether the engine inside tamma-api works as well as the one that should, or looks for issues."""
    name = worker(stack.project)
    if name is None or name == limits.API or not (_is_in_an_issue(stack) or _looks_for_issues(stack)):
        return []
    return [
        Finding(
            "problem",
            "The engine inside tamma-api is at work beside %s, and both take the same issues: end it with "
            "'%s compose restart tamma-api' in %s, or let it work alone (tamma_stack_engine_runs)."
            % (name, stack.engine.kind, stack.directory),
        )
    ]


def _is_in_an_issue(stack: Stack) -> bool:
    for place in addresses_of(stack.engine, stack.name, limits.API):
        seen = ask("http://%s:%d/api/engine/state" % (place, limits.API_PORT), seconds=_ASK_SECONDS).content
        if isinstance(seen, dict) and seen.get("state", _IDLE) != _IDLE:
            return True
    return False


def _looks_for_issues(stack: Stack) -> bool:
    """Whether its log says so; between two issues nothing else does."""
    interval = stack.settings.get("TAMMA_POLL_INTERVAL_MS", "")
    seconds = int(interval) // 1000 if interval.isdigit() else _INTERVAL_SECONDS
    since = int(time.time()) - seconds - _LOOKING_SECONDS
    for item in of_service(stack.engine.containers(stack.name), limits.API):
        began = gate.started_at(stack.engine.container(item["Id"]) or {"State": {}})
        lines = stack.engine.logs(item["Id"], _LOG_LINES, max(since, int(began)))
        if any(_LOOKED in line for line in lines):
            return True
    return False


def tables(stack: Stack) -> List[Finding]:
    """Look for the tables of the .NET API, which is healthy without them."""
    if limits.DOTNET_API not in stack.project.services:
        return []
    wanted = ", ".join("('%s')" % name for name in _TABLES)
    query = "SELECT name FROM (VALUES %s) AS wanted(name) WHERE to_regclass('public.' || name) IS NULL ORDER BY 1"
    with Database(stack).session() as session:
        missing = [row[0] or "" for row in session.query(query % wanted)]
    if not missing:
        return []
    words = "The database lacks %s, so what asks the mentorship API gets 500: run site.yml, which makes them."
    return [Finding("problem", words % ", ".join(missing))]


def sync(stack: Stack) -> List[Finding]:
    """Look whether the workflows that ELSA has arrive at tamma-api, once there was time for that."""
    listed = of_service(stack.engine.containers(stack.name), limits.API)
    inspected = [stack.engine.container(item["Id"]) for item in listed]
    began = [gate.started_at(one) for one in inspected if one]
    if not any(moment and time.time() - moment > _SYNC_SECONDS for moment in began):
        return []
    for services in limits.services_of(stack.engine, stack.name, stack.settings.get("ELSA_API_KEY", "")):
        there = services.elsa.ask("workflow-definitions?page=0&pageSize=1", seconds=_ASK_SECONDS).content
        known = ask(services.api + "/api/workflows/definitions", seconds=_ASK_SECONDS).content
        count = there.get("totalCount") if isinstance(there, dict) else 0
        # Why it cannot work with a release is told as a limit of that.
        if count and known == [] and not any(words.startswith("ELSA's workflows") for words in limits.found(services)):
            return [
                Finding(
                    "problem",
                    "ELSA has %d workflows and none has arrived at tamma-api: see 'tammactl logs tamma-api-dotnet'."
                    % count,
                )
            ]
    return []
