# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restic: the store of backups, with encryption, deduplication and atomic snapshots."""

from __future__ import annotations

import json
import re
import shutil
import signal
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner, Stalled, mortal

PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CACHE = "/var/cache/tamma-restic"

# restic goes on trying to reach a repository for a quarter of an hour.
_ANSWER_SECONDS = 60
_PATIENCE_SECONDS = 300

Moved = Callable[[int], None]


class Repository(NamedTuple):
    """Where backups are stored. password_file: a path on the host. environment: what restic needs for the location.

    host: whose backups are stored and found there, as the inventory calls it; empty where nobody has said so yet, and
    then all are found. hostname: under which name earlier versions stored that host's backups; empty for this
    machine's.
    """

    name: str
    location: str
    password_file: str
    environment: Mapping[str, str] = MappingProxyType({})
    host: str = ""
    hostname: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this host."""
        return self.location.startswith("/")


class Snapshot(NamedTuple):
    """A snapshot of restic's. time: ISO 8601. tags: "key=value" split at the first sign."""

    id: str
    time: str
    tags: Dict[str, str]


class Restic:
    """restic on one repository. Every method raises OperatorError with a sentence that says what to do."""

    def __init__(self, repository: Repository, runner: Runner, program: Optional[str] = None) -> None:
        self.repository = repository
        found = program or shutil.which("restic", path=PROGRAM_PATH)
        if not found:
            raise OperatorError(
                "This host has no restic, which stores the backups: let the role meywd.tamma.tamma_backup install it."
            )
        self.program = found
        self._version: Tuple[int, ...] = ()
        self._runner = runner.with_env(
            {
                "RESTIC_REPOSITORY": repository.location,
                "RESTIC_PASSWORD_FILE": repository.password_file,
                "RESTIC_CACHE_DIR": CACHE,
                "RESTIC_PROGRESS_FPS": "1",
                **repository.environment,
            }
        )

    def __str__(self) -> str:
        return "the repository %s" % self.repository.name

    def argv(self, *arguments: str) -> List[str]:
        """The command line; the password and the location are in the environment."""
        return mortal([self.program, "--json", *arguments])

    def _run(self, *arguments: str, timeout: Optional[float] = None) -> str:
        done = self._try(*arguments, timeout=timeout)
        if done.rc:
            raise self.failure(done)
        return done.out

    def _try(self, *arguments: str, timeout: Optional[float] = None) -> Result:
        try:
            return self._runner.run(self.argv(*arguments), timeout=timeout)
        except Stalled as exc:
            words = "does not answer within %d seconds: check its location, the network and the server there."
            raise self._gave_up(exc, words % (timeout or 0)) from exc

    def _follow(
        self,
        commands: List[List[str]],
        on_line: Callable[[str], bool],
        directory: str = "",
        env: Mapping[str, str] = MappingProxyType({}),
        named: str = "",
        source: Optional[Runner] = None,
    ) -> List[Result]:
        """Run a pipeline that ends in restic, for as long as it tells of progress."""
        runner = self._runner.with_env(dict(env))
        try:
            return runner.pipeline(commands, on_line, directory or None, _PATIENCE_SECONDS, named, first=source)
        except Stalled as exc:
            words = "got nothing done for %d seconds: check the network and the server there."
            raise self._gave_up(exc, words % _PATIENCE_SECONDS) from exc

    def _gave_up(self, stalled: Stalled, otherwise: str) -> OperatorError:
        """Why restic got nothing done: it tries again for longer than we wait, whatever the reason is."""
        if _reason(stalled.complaint):
            return self.failure(Result(1, "", stalled.complaint))
        return OperatorError("%s %s" % (_capital(str(self)), otherwise))

    def failure(self, done: Result) -> OperatorError:
        """Say in one sentence why restic failed."""
        return OperatorError(explain(self, done), rc=done.rc)

    def exists(self) -> bool:
        """Whether there is a repository that our password opens. Raises OperatorError when that cannot be known."""
        return self._is_there("cat", "config")

    def _is_there(self, *arguments: str) -> bool:
        done = self._try(*arguments, timeout=_ANSWER_SECONDS)
        if done.rc == 0:
            return True
        if _reason(done.err) is _MISSING:
            return False
        raise self.failure(done)

    def create(self) -> None:
        """Make the repository."""
        self._run("init", timeout=_ANSWER_SECONDS)

    def unlock(self) -> bool:
        """Remove locks whose process is dead; those of the living stay. Say whether there is a repository."""
        return self._is_there("unlock")

    def snapshots(self, tags: Mapping[str, str], patiently: bool = True) -> List[Snapshot]:
        """The snapshots with all these tags, oldest first."""
        chosen = ",".join("%s=%s" % pair for pair in sorted(tags.items()))
        timeout = _PATIENCE_SECONDS if patiently else _ANSWER_SECONDS
        listed = (
            json.loads(self._run("snapshots", "--no-lock", *(["--tag", chosen] if chosen else []), timeout=timeout))
            or []
        )
        found = [Snapshot(item["id"], item["time"], _tags(item.get("tags") or [])) for item in listed]
        return sorted(found, key=lambda item: item.time)

    def store(
        self,
        tags: Mapping[str, str],
        time: str,
        producer: Optional[List[str]] = None,
        name: str = "",
        directory: str = "",
        moved: Optional[Moved] = None,
        named: str = "",
        source: Optional[Runner] = None,
    ) -> Dict[str, Any]:
        """Store what *producer* prints under *name*, or the content of *directory*; return restic's summary.

        time: of the snapshot, "YYYY-MM-DD HH:MM:SS" in UTC. moved: told the number of bytes so far. named: a pipe into
        which *producer* prints. source: has the environment of *producer*, if not ours. A producer that fails leaves no
        snapshot. What is stored has to be read back.
        """
        options = ["--time", time, "--host", self.repository.host or "tamma"]
        options += [word for pair in sorted(tags.items()) for word in ("--tag", "%s=%s" % pair)]
        if self._since(0, 17):
            # That would decrypt, decompress and compare everything before it is stored: reading it back does so after.
            options.append("--no-extra-verify")
        what = ["--stdin", "--stdin-filename", name] if producer else ["."]
        summary: Dict[str, Any] = {}

        def on_summary(said: Dict[str, Any]) -> None:
            summary.update(said)

        on_line = _Follower("bytes_done", moved, on_summary)
        commands = [*([producer] if producer else []), self.argv("backup", *options, *what)]
        results = self._follow(commands, on_line, directory, {"TZ": "UTC"}, named, source)
        if producer and results[0].rc and results[-1].rc == 0:
            # restic took what came for the whole.
            self.forget([summary["snapshot_id"]])
        if results[-1].rc == 3:
            # Something could not be read: no complete snapshot, but restic keeps it.
            self.forget([summary["snapshot_id"]] if summary else [])
        if producer and results[0].rc and results[-1].rc in (0, 3):
            # With another status restic failed, and what was to be stored found nobody to take it.
            raise ProducerFailed(results[0])
        if results[-1].rc:
            raise self.failure(results[-1])
        return summary

    def copy(
        self, source: "Restic", snapshot: str, path: str, tags: Mapping[str, str], time: str, name: str, moved: Moved
    ) -> Dict[str, Any]:
        """Store a file of another repository's snapshot under *name*; the rest as for :meth:`store`."""
        return self.store(tags, time, source.dump_argv(snapshot, path), name, moved=moved, source=source._runner)

    def dump_argv(self, snapshot: str, path: str) -> List[str]:
        """The command that prints a file of a snapshot; a directory comes as a tar archive."""
        return self.argv("dump", "--no-lock", snapshot, path)

    def pipe(self, snapshot: str, path: str, *consumers: List[str], named: str = "", **further: Any) -> List[Result]:
        """Give a file of a snapshot to a program, and what that prints to the next; return what became of all.

        named: a pipe from which the last one reads. further: see
        :meth:`Runner.pipeline` (reader, read_from, handed).
        """
        return self._runner.pipeline([self.dump_argv(snapshot, path), *consumers], named=named, **further)

    def text(self, snapshot: str, path: str) -> str:
        """A small file of a snapshot."""
        return self._run("dump", "--no-lock", snapshot, path, timeout=_PATIENCE_SECONDS)

    def restore(self, snapshot: str, target: str, include: Sequence[str] = (), moved: Optional[Moved] = None) -> None:
        """Write a snapshot's files below *target*. moved: told the number of bytes so far."""
        options = [word for path in include for word in ("--include", path)]
        command = self.argv("restore", "--no-lock", snapshot, "--target", target, *options)
        (done,) = self._follow([command], _Follower("bytes_restored", moved))
        if done.rc:
            raise self.failure(done)

    def forget(self, snapshots: Sequence[str], patiently: bool = True) -> None:
        """Let snapshots go; their data stays until :meth:`prune`."""
        if snapshots:
            self._run("forget", *snapshots, timeout=_PATIENCE_SECONDS if patiently else _ANSWER_SECONDS)

    def prune(self) -> None:
        """Remove the data that no snapshot needs."""
        self._run("prune", *self._retry_lock())

    def check(self, read_data: str = "") -> None:
        """Check the repository's structure, and with *read_data* ("5%", "100%") that much of its data."""
        options = ["--read-data-subset", read_data] if read_data else []
        self._run("check", *options, *self._retry_lock())

    def size(self) -> int:
        """Bytes that the repository's data takes."""
        return int(json.loads(self._run("stats", "--no-lock", "--mode", "raw-data")).get("total_size", 0))

    def version(self) -> str:
        """restic's version."""
        found = re.search(r"\d+\.\d+\.\d+", self._runner.run([self.program, "version"], timeout=30).out)
        return found.group(0) if found else "0.0.0"

    def _retry_lock(self) -> List[str]:
        # Since 0.16 restic itself waits for another one's lock.
        return ["--retry-lock", "5m"] if self._since(0, 16) else []

    def _since(self, *version: int) -> bool:
        """Whether restic is of this version or a later one."""
        if not self._version:
            self._version = tuple(map(int, self.version().split(".")))
        return self._version >= version


class _Follower:
    """Reads what restic tells of its progress, line by line."""

    def __init__(
        self, key: str, moved: Optional[Moved], on_summary: Optional[Callable[[Dict[str, Any]], None]] = None
    ) -> None:
        """*key*: of the number of bytes so far."""
        self._key = key
        self._moved = moved
        self._on_summary = on_summary
        self._last = -1

    def __call__(self, line: str) -> bool:
        """Say whether this line shows that things go on."""
        try:
            said = json.loads(line)
        except ValueError:
            return False
        if said.get("message_type") == "summary" and self._on_summary:
            self._on_summary(said)
        done = int(said.get(self._key) or said.get("total_bytes_processed") or 0)
        if done == self._last:
            return False
        self._last = done
        if self._moved:
            self._moved(done)
        return True


class ProducerFailed(Exception):
    """What should have been stored could not be produced. result: what became of the program."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.err)
        self.result = result


def unheard(done: Result) -> bool:
    """Whether restic ended because what it printed to had ended, which then knows the reason."""
    return done.rc == -signal.SIGPIPE or "broken pipe" in done.err


def _tags(tags: Sequence[str]) -> Dict[str, str]:
    return dict(tag.split("=", 1) for tag in tags if "=" in tag)


_MISSING = re.compile(r"repository does not exist|unable to open config file|Is there a repository at", re.I)

# What restic says → what to do about it. The first that fits counts: a connection that breaks off leaves damage in its
# words as well.
_FAILURES = (
    (
        re.compile("wrong password|no key found", re.I),
        "{repository} is not opened by its password: correct the password of {name} in tamma_backup_repositories.",
    ),
    (
        re.compile("no space left on device|disk quota exceeded|InsufficientStorage", re.I),
        "The disk of {repository} is full: make room there, or keep fewer backups (tamma_backup_keep).",
    ),
    (
        re.compile("unable to create lock|already locked", re.I),
        "{repository} is in use by another process: wait until that has ended.",
    ),
    (
        re.compile(
            r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|connection reset"
            r"|ssh: |subprocess ssh|x509|TLS handshake|timeout|HTTP response \(5\d\d\)|server response unexpected",
            re.I,
        ),
        "{repository} cannot be reached: {said}. Check its location, the network and the server there.",
    ),
    (
        re.compile(
            r"ciphertext verification failed|hash mismatch|data is corrupt|invalid data|does not match id"
            r"|unexpected EOF|repository contains errors|not found in (the )?(index|repository)|load\(?<(data|index)"
            r"|invalid header"
            r"|wrong length|id .* returned|is damaged|no matching ID|error loading index|pack .* not found",
            re.I,
        ),
        (
            "{repository} is damaged: {said}. Its other backups may be whole; take a new backup into another "
            "repository first, then see 'tammactl check'."
        ),
    ),
    (
        re.compile(
            r"permission denied|HTTP response \(40[13]\)|access ?denied|InvalidAccessKeyId|SignatureDoesNotMatch", re.I
        ),
        (
            "{repository} refuses access: {said}. Check the credentials and permissions of {name} in "
            "tamma_backup_repositories."
        ),
    ),
    (
        _MISSING,
        "There is no repository at the location of {name}: check it in tamma_backup_repositories; a backup makes one.",
    ),
)


_SENTENCES: Dict[Optional["re.Pattern[str]"], str] = dict(_FAILURES)


def explain(restic: Restic, done: Result) -> str:
    """Turn what restic complained about into one sentence."""
    said = complaint(done.err)
    if done.rc < 0 and not done.err.strip():
        said = "it was killed"
    sentence = _SENTENCES.get(_reason(done.err), "restic failed on {repository}: {said}.")
    text = sentence.format(repository=str(restic), name=restic.repository.name, said=said)
    return _capital(text) if sentence.startswith("{") else text


def _reason(said: str) -> Optional["re.Pattern[str]"]:
    """Which of the known failures this is. A server that is away looks to restic like one without a repository."""
    return next((pattern for pattern, _sentence in _FAILURES if pattern.search(said)), None)


def complaint(text: str) -> str:
    """The last thing that restic says, without its own decoration, and without what may be a location's login."""
    lines = []
    for line in text.splitlines():
        try:
            said = json.loads(line)
            line = str(said.get("message") or (said.get("error") or {}).get("message") or "")
        except (ValueError, AttributeError):
            pass
        if line.strip():
            lines.append(line.strip().splitlines()[0])
    # Warnings about single blobs are many; the reason is the fatal one, else the last.
    fatal = [line for line in lines if line.startswith("Fatal:")] or lines
    last = re.sub(r"^Fatal: ", "", fatal[-1]) if fatal else "it said nothing"
    # A password may have "/" and "@" in it.
    return re.sub(r"//\S*@", "//***@", last).rstrip(".")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
