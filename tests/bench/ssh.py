"""The key that opens the sandbox hosts, and the host keys that they are known by."""

from __future__ import annotations

import fcntl
from pathlib import Path

from .command import BenchError, run
from .names import cache_dir


def key() -> Path:
    """Return the private key of this checkout, made when it is missing."""
    path = cache_dir() / "id_ed25519"
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tamma-bench", "-f", path])
    return path


def public_key() -> str:
    """Return the public half of the key, as a line of an authorized_keys file."""
    return key().with_suffix(".pub").read_text()


def known_hosts() -> Path:
    """Return the file with the sandbox hosts' own keys."""
    path = cache_dir() / "known_hosts"
    path.touch()
    return path


def remember(port: int, host_key: str) -> None:
    """Note which key the host behind a published port has, instead of an earlier one there."""
    address = f"[127.0.0.1]:{port}"
    algorithm, base64 = host_key.split()[:2]
    path = known_hosts()
    # SSH clients read it at any time and lock nothing: they see it with this line or without, never half of it.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith(f"{address} ")]
        renewed = path.with_suffix(".new")
        renewed.write_text("".join([*lines, f"{address} {algorithm} {base64}\n"]))
        renewed.replace(path)


def options() -> list[str]:
    """Return what an SSH client needs to trust the bench's hosts, and nothing else."""
    return ["-o", f"UserKnownHostsFile={known_hosts()}", "-o", "StrictHostKeyChecking=yes"]


def command(port: int) -> list[str]:
    """Return the command that logs in to the host behind a published port as root."""
    return ["ssh", "-i", str(key()), "-p", str(port), *options(), "root@127.0.0.1"]


def check(port: int) -> None:
    """Log in once."""
    ssh, *rest = command(port)
    result = run([ssh, "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *rest, "true"], check=False)
    if result.returncode != 0:
        raise BenchError(f"The host on port {port} refuses SSH: {result.stderr.strip()}")
