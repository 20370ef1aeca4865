# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a stack can do its work. Its services are healthy without an agent, a token, tables, or a place to write."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional
from urllib.parse import quote

from ansible_collections.meywd.tamma.plugins.module_utils import gate, limits, ownership
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.elsa import addresses_of, ask
from ansible_collections.meywd.tamma.plugins.module_utils.engine import of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# On the service whose engine works on issues: the program that does the work.
AGENT_LABEL = "tamma.agent"

# In `.env`: "false" asks nobody outside.
SWITCH = "TAMMA_CHECK_GITHUB"
# Compiled into the engine.
GITHUB = "api.github.com"
_GITHUB_SECONDS = 5.0

_LOOK_SECONDS = 20.0
_ASK_SECONDS = 3.0
# The sync comes every 30 seconds, and tamma-api forgets what it brought with each start.
_SYNC_SECONDS = 120.0

# What the .NET API reads.
_TABLES = ("junior_developers", "mentorship_events", "mentorship_sessions", "stories")

# Of the engine inside tamma-api, when it does nothing.
_IDLE = "IDLE"

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
    for look in (engine, beside, _github, tables, sync):
        # One that fails has a finding of its own elsewhere, and hides none of the others.
        with contextlib.suppress(OperatorError):
            found += look(stack)
    return found


def _github(stack: Stack) -> List[Finding]:
    return [] if stack.settings.get(SWITCH, "").lower() == "false" else github(stack.settings)


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
    """Look whether the engine inside tamma-api is at work as well as the one that should be."""
    name = worker(stack.project)
    if name is None or name == limits.API:
        return []
    for place in addresses_of(stack.engine, stack.name, limits.API):
        seen = ask("http://%s:%d/api/engine/state" % (place, limits.API_PORT), seconds=_ASK_SECONDS).content
        if isinstance(seen, dict) and seen.get("state", _IDLE) != _IDLE:
            return [
                Finding(
                    "problem",
                    "The engine inside tamma-api is at work beside %s, and both take the same issues: end it with "
                    "'%s compose restart tamma-api' in %s, or let it work alone (tamma_stack_engine_runs)."
                    % (name, stack.engine.kind, stack.directory),
                )
            ]
    return []


def _connection() -> http.client.HTTPConnection:
    return http.client.HTTPSConnection(GITHUB, timeout=_GITHUB_SECONDS, context=ssl.create_default_context())


def github(
    settings: Mapping[str, str], connect: Callable[[], http.client.HTTPConnection] = _connection
) -> List[Finding]:
    """Ask GitHub for the repository with the token of the stack, as the engine does."""
    token, owner, repository = (settings.get(name, "") for name in ("GITHUB_TOKEN", "GITHUB_OWNER", "GITHUB_REPO"))
    if not (token and owner and repository):
        return []
    called = "%s/%s" % (owner, repository)
    connection = connect()
    try:
        headers = {
            "Authorization": "Bearer " + token,
            "Accept": "application/vnd.github+json",
            "User-Agent": "meywd.tamma",
        }
        connection.request("GET", "/repos/%s/%s" % (quote(owner, safe=""), quote(repository, safe="")), headers=headers)
        answer = connection.getresponse()
        return _judge(called, answer.status, dict(answer.headers), answer.read(1 << 20))
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        return [
            Finding(
                "advice",
                "GitHub (%s) does not answer this host within %d s (%s), so nobody knows whether the token is good: "
                "look at its firewall and name resolution, or set tamma_stack_check_github to false."
                % (GITHUB, _GITHUB_SECONDS, reason),
            )
        ]
    finally:
        connection.close()


_REMEDY = (
    "set another one in tamma_stack_github_token and run rotate_secrets.yml with -e tamma_stack_rotate=GITHUB_TOKEN"
)


def _judge(called: str, status: int, headers: Mapping[str, str], body: bytes) -> List[Finding]:
    if status == 401:
        return [Finding("problem", "GitHub refuses the token: it is wrong, expired or revoked; %s." % _REMEDY)]
    if status in (403, 429) and headers.get("X-RateLimit-Remaining") == "0":
        return [Finding("advice", "The token has asked GitHub too often: the engine waits until that is over.")]
    if status == 403:
        return [
            Finding(
                "problem",
                "GitHub does not let the token use %s (an organisation may want it approved, or single sign-on): "
                "look at the token's page at GitHub, or %s." % (called, _REMEDY),
            )
        ]
    if status in (301, 404):
        return [
            Finding(
                "problem",
                "GitHub has no repository %s for this token: check tamma_stack_github_owner and "
                "tamma_stack_github_repo, and that the token may read it." % called,
            )
        ]
    if status != 200:
        return [Finding("advice", "GitHub answers %d for %s: look at githubstatus.com." % (status, called))]
    if _may_push(body):
        return []
    return [Finding("problem", "The token may read %s and not write to it: %s." % (called, _REMEDY))]


def _may_push(body: bytes) -> bool:
    """Whether GitHub says so; what says nothing about it counts as yes."""
    try:
        known: Any = json.loads(body)
    except ValueError:
        return True
    rights: Dict[str, Any] = known.get("permissions") or {} if isinstance(known, dict) else {}
    return rights.get("push") is not False


def tables(stack: Stack) -> List[Finding]:
    """Look for the tables of the .NET API, which is healthy without them."""
    if limits.DOTNET_API not in stack.project.services:
        return []
    wanted = ", ".join("('%s')" % name for name in _TABLES)
    query = "SELECT name FROM (VALUES %s) AS wanted(name) WHERE to_regclass('public.' || name) IS NULL ORDER BY 1"
    try:
        with Database(stack).session() as session:
            missing = [row[0] or "" for row in session.query(query % wanted)]
    except OperatorError:
        # A database that does not answer is told of by whoever looks at it.
        return []
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
