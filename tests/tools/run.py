"""Runs a tool for a test: quiet when it succeeds, what it said when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.bench.clock import Lines
from tests.bench.patience import scaled
from tests.tools.outcome import Outcome
from tests.tools.roles import ROOT


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
    echo: bool = False,
) -> str:
    """What the command printed on both streams; the test fails when the command does."""
    outcome = follow(command, cwd=cwd, env=env, timeout=timeout, echo=echo)
    if outcome.status:
        pytest.fail(f"{_line(command)}: status {outcome.status}\n{outcome.output}", pytrace=False)
    return outcome.output


def _line(command: Sequence[str | os.PathLike[str]]) -> str:
    return " ".join(os.fspath(word) for word in command)


def follow(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
    echo: bool = False,
) -> Outcome:
    """How the command ended and what it printed on both streams; the clock hears of the phases that it tells of.

    ``echo`` prints it also while the command runs. The test fails when it takes longer than ``timeout`` seconds, or so
    much longer as this machine is slower than a quiet one.
    """
    timeout = scaled(timeout)
    words = [os.fspath(word) for word in command]
    lines: list[str] = []
    phases = Lines()
    with subprocess.Popen(
        words,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # A group of its own, so that what the command started ends with it.
        start_new_session=True,
    ) as process:
        late = threading.Event()

        def stop() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                phases.take(line)
                if echo:
                    print(line, end="", flush=True)
            process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
        finally:
            timer.cancel()
            phases.end()
    output = "".join(lines)
    if late.is_set():
        pytest.fail(f"{_line(command)}: not done after {timeout:.0f} seconds\n{output}", pytrace=False)
    return Outcome(process.returncode, output)


def project_files(*patterns: str) -> list[Path]:
    """The files of the checkout, relative to it: tracked ones, and new ones that git would take."""
    listing = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns])
    paths = (Path(name) for name in sorted(set(listing.split("\0"))) if name)
    return [path for path in paths if (ROOT / path).is_file() and not (ROOT / path).is_symlink()]
