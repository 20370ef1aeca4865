"""Clients that log in while a host is remembered see all hosts that were known before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import ssh


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMMA_BENCH_CACHE", str(tmp_path))


def test_a_host_has_one_key_and_the_others_keep_theirs() -> None:
    ssh.remember(20022, "ssh-ed25519 AAAA-first root@tamma1")
    ssh.remember(20023, "ssh-ed25519 AAAA-other root@tamma2")
    ssh.remember(20022, "ssh-ed25519 AAAA-second root@tamma1")
    assert ssh.known_hosts().read_text().splitlines() == [
        "[127.0.0.1]:20023 ssh-ed25519 AAAA-other",
        "[127.0.0.1]:20022 ssh-ed25519 AAAA-second",
    ]


def test_who_reads_meanwhile_sees_a_whole_file() -> None:
    ssh.remember(20022, "ssh-ed25519 AAAA-first root@tamma1")
    with ssh.known_hosts().open() as before:
        ssh.remember(20023, "ssh-ed25519 AAAA-other root@tamma2")
        assert before.read() == "[127.0.0.1]:20022 ssh-ed25519 AAAA-first\n"
