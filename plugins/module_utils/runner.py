# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the operator starts other programs: one small class, handed in wherever it is needed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import stat
import subprocess
import tempfile
import threading
from typing import IO, Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError


class Result(NamedTuple):
    """What a program did: exit status, standard output and standard error as text."""

    rc: int
    out: str
    err: str


# Of what a pipeline's last program prints, and of what each one complains about.
_KEPT_LINES = 20
_KEPT_CHARACTERS = 20000

# Python's fcntl has it since 3.10. More than this may only a process with more rights than a container's root has.
_SET_PIPE_SIZE = 1031
_PIPE_BYTES = 1 << 20
# After that nobody is waited for who has been killed.
_SECONDS_OF_SILENCE = 0.5


class _Watch:
    """Kills processes that get nothing done for some seconds; 0 lets them be."""

    def __init__(self, seconds: float, processes: "List[subprocess.Popen[str]]") -> None:
        self.barked = False
        self._seconds = seconds
        self._processes = processes
        self._timer: Optional[threading.Timer] = None
        self.start()

    def start(self) -> None:
        """Begin to count, from zero again."""
        self.stop()
        if self._seconds:
            self._timer = threading.Timer(self._seconds, self._bark)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Do not count any more."""
        if self._timer:
            self._timer.cancel()

    def _bark(self) -> None:
        self.barked = True
        for process in self._processes:
            process.kill()


def mortal(argv: List[str]) -> List[str]:
    """The command line of a program that is killed when we are: what we began alone makes no sense."""
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin")
    return [setpriv, "--pdeathsig", "KILL", *argv] if setpriv else argv


def _temporary() -> IO[str]:
    return tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")


def _open_ends(path: str, ends: List[int]) -> None:
    """Open a named pipe where one reads and where one writes, without waiting for anybody at the other end."""
    try:
        ends.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
        # It lies where a container may write: nothing else shall be taken for it, and both ends be of the same one.
        if not stat.S_ISFIFO(os.fstat(ends[0]).st_mode):
            raise OperatorError("%s is not the named pipe that was made there." % path)
        ends.append(os.open("/proc/self/fd/%d" % ends[0], os.O_WRONLY))
        os.set_blocking(ends[0], True)
        _widen(ends[0])
    except OSError as exc:
        raise OperatorError("The named pipe %s cannot be opened: %s." % (path, exc.strerror)) from exc


def _widen(pipe: int) -> None:
    """Let a pipe hold more than 64 KiB, so that whoever writes and whoever reads wait less often for one another."""
    # The kernel may allow less, and then it stays as it is.
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)


def _close(ends: List[int]) -> None:
    while ends:
        os.close(ends.pop())


def _read_all(descriptor: int, reader: Callable[[bytes], None]) -> None:
    """Hand everything on, until nobody is left who could write more."""
    while True:
        piece = os.read(descriptor, _PIPE_BYTES)
        if not piece:
            return
        reader(piece)


def _descriptor(process: "subprocess.Popen[str]") -> int:
    return process.stdout.fileno() if process.stdout else -1


class _Drained:
    """Reads a named pipe in a thread, until whoever made this says that no more can come."""

    def __init__(self, path: str, reader: Callable[[bytes], None]) -> None:
        self._ends: List[int] = []
        try:
            _open_ends(path, self._ends)
        except BaseException:
            _close(self._ends)
            raise
        self._reader = reader
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take what is in the pipe still, and close it. May be called twice."""
        if self._ends:
            # Our own end of those who write is the last one, unless somebody was killed whose program lives on.
            os.close(self._ends.pop())
            self._ended.set()
            self._thread.join()
            _close(self._ends)

    def _read(self) -> None:
        while True:
            ready = select.select([self._ends[0]], [], [], _SECONDS_OF_SILENCE)[0]
            piece = os.read(self._ends[0], _PIPE_BYTES) if ready else b""
            if piece:
                self._reader(piece)
            elif ready or self._ended.is_set():
                return


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()[-_KEPT_CHARACTERS:]


class Stalled(OperatorError):
    """A program that got nothing done in its time. complaint: what it has said meanwhile, which may hold a login."""

    def __init__(self, message: str, complaint: str, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.complaint = complaint


class Runner:
    """Runs programs with a small, known environment.

    Nothing else of the caller's environment is passed on: Compose prefers a variable of its
    environment to the same one in ``.env``, so a GITHUB_TOKEN of root's shell would win.
    """

    def __init__(self, env: Optional[Dict[str, str]] = None) -> None:
        self._env = {
            "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": os.environ.get("HOME", "/root"),
            "LC_ALL": "C.UTF-8",
        }
        self._env.update(env or {})

    def with_env(self, more: Dict[str, str]) -> "Runner":
        """The same with more variables in the programs' environment."""
        return Runner({**self._env, **more})

    def pipeline(
        self,
        commands: List[List[str]],
        on_line: Optional[Callable[[str], bool]] = None,
        cwd: Optional[str] = None,
        patience: float = 0,
        named: str = "",
        reader: Optional[Callable[[bytes], None]] = None,
        read_from: str = "",
        first: Optional["Runner"] = None,
        handed: Sequence[int] = (),
    ) -> List[Result]:
        """Run programs with each one's output as the next one's input; return what became of each.

        Nothing but the last one's lines passes through this process; *on_line* is given each of them as it comes and
        says whether it shows that things go on. Raises Stalled when nothing goes on for *patience* seconds (0: however
        long), and OperatorError when one cannot be started. All of them have ended when this returns or raises.

        named: a named pipe that is between the last two, one of which may be a program that begins another one
        elsewhere, which uses the pipe by its name. As long as the former lives, its end stays open. The other end may
        be gone by then, and opening a pipe without one waits for ever: open it for both directions first.

        reader: is given what the last one prints, piece by piece, or what is written into the named pipe *read_from* as
        long as the last one lives; there is no output in the results then. first: has the environment of the first one,
        if that is another one. handed: descriptors that all of them have.
        """
        processes: List["subprocess.Popen[str]"] = []
        errors = [_temporary() for _command in commands]
        lines: List[str] = []
        watch = _Watch(patience, processes)
        ends: List[int] = []
        drained: List[_Drained] = []
        try:
            if named:
                _open_ends(named, ends)
            if reader and read_from:
                drained.append(_Drained(read_from, reader))
            for number, argv in enumerate(commands):
                left = len(commands) - 1 - number
                before = processes[-1].stdout if processes else subprocess.DEVNULL
                try:
                    started = subprocess.Popen(
                        argv,
                        cwd=cwd,
                        env=first._env if first and number == 0 else self._env,
                        stdin=ends[0] if ends and left == 0 else before,
                        stdout=ends[1] if ends and left == 1 else subprocess.PIPE,
                        stderr=errors[number],
                        pass_fds=handed,
                        encoding="utf-8",
                        errors="replace",
                    )
                except OSError as exc:
                    raise OperatorError("'%s' cannot be run: %s." % (argv[0], exc.strerror), cmd=argv) from exc
                if processes and processes[-1].stdout:
                    # So that the one before is told when this one ends.
                    processes[-1].stdout.close()
                processes.append(started)
                if started.stdout:
                    _widen(started.stdout.fileno())
            _close(ends)
            if reader and not read_from:
                _read_all(_descriptor(processes[-1]), reader)
            for line in processes[-1].stdout or ():
                lines = [*lines[-_KEPT_LINES:], line]
                if on_line and on_line(line):
                    watch.start()
            if watch.barked:
                raise Stalled(
                    "'%s' got nothing done for %d seconds and was stopped." % (commands[-1][0], patience),
                    _text(errors[-1]),
                )
            ended = [process.wait() for process in processes]
            for pipe in drained:
                pipe.end()
            return [
                Result(ended[number], "".join(lines) if number == len(commands) - 1 else "", _text(errors[number]))
                for number in range(len(processes))
            ]
        finally:
            watch.stop()
            _close(ends)
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                if process.stdout:
                    process.stdout.close()
            for pipe in drained:
                pipe.end()
            for error in errors:
                error.close()

    def run(
        self,
        argv: List[str],
        cwd: Optional[str] = None,
        stdin: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> Result:
        """Run a program to its end and return its result, whatever its exit status.

        Raises OperatorError when it cannot be started, and Stalled when it takes longer than *timeout* seconds.
        """
        try:
            # Not AnsibleModule.run_command: this file also serves the command line on the host.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                argv,
                cwd=cwd,
                env=self._env,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            said = exc.stderr or ""
            raise Stalled(
                "'%s' did not end within %d seconds." % (" ".join(argv[:3]), timeout or 0),
                said.decode(errors="replace") if isinstance(said, bytes) else said,
                cmd=argv,
            ) from exc
        except OSError as exc:
            raise OperatorError("'%s' cannot be run: %s." % (argv[0], exc.strerror), cmd=argv) from exc
        return Result(done.returncode, done.stdout, done.stderr)
