# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose keys a file holds: the same that GnuPG says."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest

from ansible_collections.meywd.tamma.plugins.filter.key_fingerprints import key_fingerprints


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fingerprint → key."""
    if shutil.which("gpg") is None:
        pytest.skip("this machine has no GnuPG")
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)

    def gpg(*words: str) -> str:
        command = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    for name, algorithm in (("one@example.org", "rsa2048"), ("two@example.org", "ed25519")):
        gpg("--quick-generate-key", name, algorithm, "default", "never")
    lines = gpg("--list-keys", "--with-colons").splitlines()
    found = [line.split(":")[9] for before, line in itertools.pairwise(lines) if before.startswith("pub:")]
    made = {number: gpg("--armor", "--export", number) for number in found}
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    return made


def test_each_key_has_the_name_that_gnupg_gives_it(keys: dict[str, str]) -> None:
    assert len(keys) == 2
    for number, text in keys.items():
        assert key_fingerprints(text) == [number]
        assert key_fingerprints("\n" + text.replace("\n", "\r\n")) == [number]


def test_a_second_key_is_seen(keys: dict[str, str]) -> None:
    assert key_fingerprints("\n".join(keys.values())) == list(keys)


@pytest.mark.parametrize("change", [lambda text: text + "x", lambda text: text[:-60], lambda _text: "<html>"])
def test_anything_else_is_no_key(keys: dict[str, str], change: object) -> None:
    for text in keys.values():
        assert key_fingerprints(change(text)) == []  # type: ignore[operator]
