"""Plays tamma-engine: takes issues from GitHub, and has an agent work on them until their pull request is merged.

It is healthy once it has started, whatever it can do. Stopped in the middle of an issue it ends after ten seconds and
begins that issue anew at its next start.

A release of the future (STANDIN_FUTURE) registers with tamma-api, and is healthy while that works. With
STANDIN_ISSUE_SECONDS it is in the middle of an issue, which it finishes when it is told to stop. What became of it
stands in its log and, because a log goes with its container, in the working directory as well.
"""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import process, typescript
from .process import log, stopping
from .remote import RemoteError, call
from .typescript import Settings

HEALTHY = Path("/tmp/tamma-engine-healthy")
#: Compiled in.
GITHUB = "https://api.github.com"
SECONDS_TO_STOP = 10
CI_SECONDS = 1.0
REGISTER_SECONDS = 5.0
RETRY_SECONDS = 1.0
#: In the working directory: a line for each issue that was begun, and for each that was finished.
ISSUES = "standin-issues"


class Failed(Exception):
    """An issue could not be worked on."""


class Engine:
    """Works on issues, one after the other, from `begin` on."""

    def __init__(self, settings: Settings, approval: str) -> None:
        self._settings, self._approval = settings, approval
        self._github = _GitHub(settings)
        self._thread = threading.Thread(target=self._work, daemon=True)
        #: As the API tells it.
        self.state = "IDLE"
        self.processed = 0

    @property
    def busy(self) -> bool:
        return self.state != "IDLE"

    def begin(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def _work(self) -> None:
        # Of Tamma itself, at every start.
        with contextlib.suppress(RemoteError):
            self._github.ask("GET", "/repos/Tam-ma/tamma/releases/latest")
        while not stopping.is_set():
            log("info", "Polling for next issue")
            try:
                self._next()
            except (Failed, RemoteError, OSError, ValueError) as error:
                log("error", f"Error in engine run loop: {error}")
            self.state = "IDLE"
            stopping.wait(self._settings.poll_interval_ms / 1000)

    def _next(self) -> None:
        with contextlib.suppress(Failed):
            self._agent("--version")
        labels = quote(",".join(self._settings.issue_labels))
        issues = self._github.of("GET", f"/issues?labels={labels}&state=open&sort=created&direction=asc")
        for issue in issues[:1]:
            self.state = "WORKING"
            self._take(issue)
            self.processed += 1

    def _take(self, issue: dict[str, Any]) -> None:
        """Bring one issue to its end. A failure leaves everything as it is by then."""
        github, number, title = self._github, issue["number"], issue["title"]
        github.of("POST", f"/issues/{number}/assignees", {"assignees": [self._settings.bot]})
        github.of("POST", f"/issues/{number}/comments", {"body": "Tamma is picking up this issue."})
        for path in (f"/issues/{number}", f"/issues/{number}/comments", "/commits"):
            github.of("GET", path)
        plan = self._plan(number, title)
        self._approve()
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        branch = f"feature/{number}-{slug}"
        base = github.of("GET", "/git/ref/heads%2Fmain")["object"]["sha"]
        github.of("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": base})
        self._agent("-p", f"Implement this plan on the branch {branch} and push it: {plan['summary']}")
        pull = github.of("POST", "/pulls", {"title": title, "head": branch, "base": "main", "body": plan["summary"]})
        github.of("POST", f"/issues/{pull['number']}/labels", {"labels": ["tamma-automated"]})
        github.of("POST", f"/issues/{number}/comments", {"body": f"Opened #{pull['number']}."})
        while github.of("GET", f"/commits/{quote(branch, safe='')}/status")["state"] == "pending":
            stopping.wait(CI_SECONDS)
        github.of("PUT", f"/pulls/{pull['number']}/merge", {"merge_method": "squash"})
        github.of("DELETE", f"/git/refs/heads%2F{quote(branch, safe='')}")
        github.of("POST", f"/issues/{number}/comments", {"body": "Merged."})
        github.of("PATCH", f"/issues/{number}", {"state": "closed"})

    def _plan(self, number: int, title: str) -> dict[str, Any]:
        text = self._agent("-p", f"Write a development plan for issue #{number}, as JSON: {title}")
        try:
            plan = json.loads(json.loads(text)["result"])
            complete = plan["issueNumber"] == number and {"summary", "fileChanges"} <= set(plan)
        except (ValueError, KeyError, TypeError):
            complete = False
        if not complete:
            raise Failed("The agent has made no plan.")
        found: dict[str, Any] = plan
        return found

    def _approve(self) -> None:
        """Ask whoever sits at the terminal: in a container, nobody."""
        if self._approval == "auto":
            return
        print("Approve this plan? (y/n)", flush=True)
        log("error", "Input closed")
        stopping.wait()
        raise Failed("Input closed")

    def _agent(self, *words: str) -> str:
        """Run the agent with the environment that this process has, and nothing that is only in a file."""
        try:
            done = subprocess.run(
                ["claude", *words],
                cwd=self._settings.working_directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise Failed(f"spawn claude: {error.strerror}") from None
        if done.returncode:
            raise Failed(f"claude ended with {done.returncode}")
        self._note_cost()
        return done.stdout

    def _note_cost(self) -> None:
        """Write down what the budget is measured by."""
        folder = Path(self._settings.working_directory) / ".tamma"
        try:
            folder.mkdir(exist_ok=True)
            (folder / "cost-data.json").write_text(json.dumps({"totalCostUsd": 0.01, "updated": time.time()}))
        except OSError as error:
            log("error", f"{error.strerror}: {folder / 'cost-data.json'}")


class _GitHub:
    """GitHub's API, as the owner of the token."""

    def __init__(self, settings: Settings) -> None:
        self._repository = f"/repos/{settings.owner}/{settings.repo}"
        self._headers = {"Authorization": f"token {settings.token}", "Accept": "application/vnd.github+json"}
        self._context = ssl.create_default_context()
        # Node.js trusts these beside the others.
        extra = os.environ.get("NODE_EXTRA_CA_CERTS")
        if extra:
            with contextlib.suppress(OSError):
                self._context.load_verify_locations(extra)

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        return call(method, GITHUB + path, content, self._headers, self._context)

    def of(self, method: str, path: str, content: Any = None) -> Any:
        """Ask about the repository."""
        return self.ask(method, self._repository + path, content)


def main(_: list[str]) -> int:
    process.begin("tamma-engine")
    settings = typescript.load()
    log(
        "info",
        f"Engine for {settings.owner}/{settings.repo}, model {settings.model}, approval auto, polling every "
        f"{settings.poll_interval_ms} ms in {settings.working_directory}, labels {','.join(settings.issue_labels)}",
    )
    # What a former one of this container has left says nothing.
    HEALTHY.unlink(missing_ok=True)
    if process.FUTURE:
        return _main_of_the_future(settings)
    with contextlib.suppress(OSError):
        lock = Path(os.environ.get("HOME", "/nonexistent")) / ".tamma" / "engine.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text(str(os.getpid()))
    # In service mode nobody is asked, whatever the settings say.
    engine = Engine(settings, "auto")
    engine.begin()
    if not process.UNHEALTHY:
        HEALTHY.touch()
    process.wait_for_stop()
    end = time.monotonic() + SECONDS_TO_STOP
    while engine.busy and time.monotonic() < end:
        time.sleep(0.05)
    HEALTHY.unlink(missing_ok=True)
    return int(engine.busy)


def _main_of_the_future(settings: Settings) -> int:
    """Register again and again; finish the issue in hand, if there is one, at the end."""
    api = os.environ.get("TAMMA_API_URL", "http://tamma-api:3100").rstrip("/")
    if not os.access(settings.working_directory, os.W_OK):
        raise process.Refusal(f"The working directory {settings.working_directory} is not writable.")
    registration = {
        "id": socket.gethostname(),
        "owner": settings.owner,
        "repo": settings.repo,
        "model": settings.model,
        "version": process.VERSION,
        "state": "WORKING" if process.ISSUE_SECONDS else "IDLE",
    }
    issues = Path(settings.working_directory) / ISSUES
    if process.ISSUE_SECONDS:
        _note(issues, "began", registration["id"])
    registered = False
    while not stopping.is_set():
        try:
            call("POST", f"{api}/api/engines", registration)
        except RemoteError as error:
            log("warn", f"Lost tamma-api: {error}" if registered else f"No tamma-api yet: {error}")
            registered = False
            HEALTHY.unlink(missing_ok=True)
        else:
            if not registered:
                log("info", f"Registered with {api} as {registration['id']}")
            registered = True
            if not process.UNHEALTHY:
                HEALTHY.touch()
        stopping.wait(REGISTER_SECONDS if registered else RETRY_SECONDS)
    process.wait_for_stop()
    if process.ISSUE_SECONDS:
        time.sleep(process.ISSUE_SECONDS)
        _note(issues, "finished", registration["id"])
    HEALTHY.unlink(missing_ok=True)
    try:
        call("DELETE", f"{api}/api/engines/{registration['id']}")
    except RemoteError as error:
        log("warn", f"Could not unregister: {error}")
    return 0


def _note(issues: Path, what: str, identifier: str) -> None:
    log("info", f"{what.capitalize()} an issue")
    with issues.open("a") as file:
        file.write(f"{what} {identifier}\n")
