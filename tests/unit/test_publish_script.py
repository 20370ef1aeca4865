# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workflows run to publish images: with an Ansible and a cosign that only write down what they were told."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.tools.roles import ROOT

SCRIPT = ROOT / "roles/tamma_images/files/workflows/publish.sh"
DIGESTS = [f"sha256:{number:064x}" for number in range(2)]
RESULT = f"""# What example.org/tamma has.
tamma_stack_registry: example.org:5000/tamma
tamma_stack_version: "1.2.3"
tamma_images_environment:
  API_IMAGE: example.org:5000/tamma/tamma-api:1.2.3@{DIGESTS[0]}
  ENGINE_IMAGE: example.org:5000/tamma/tamma-engine:1.2.3@{DIGESTS[1]}
"""
ANSIBLE = """#!/bin/sh
printf '%s\\n' "$@" > "$SAID/ansible"
for word; do case $word in tamma_images_result=*) cp "$SAID/result" "${word#*=}" ;; esac; done
exit "${ANSIBLE_STATUS:-0}"
"""
COSIGN = """#!/bin/sh
case $*:${COSIGN_MAJOR:-2} in *--help:3) exit 0 ;; *--help:2) exit 1 ;; esac
printf '%s\\n' "$*" >> "$SAID/cosign"
exit "${COSIGN_STATUS:-0}"
"""


class Bench:
    """A place with both programs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "bin").mkdir()
        (directory / "source").mkdir()
        self.program("ansible-playbook", ANSIBLE)
        self.program("cosign", COSIGN)
        (directory / "result").write_text(RESULT)

    def program(self, name: str, text: str) -> None:
        path = self.directory / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.directory}/bin:{os.defpath}", "SAID": str(self.directory), **environment}
        return subprocess.run(["sh", SCRIPT, *words], cwd=self.directory, env=env, capture_output=True, text=True)

    def said(self, program: str) -> list[str]:
        path = self.directory / program
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def told(bench: Bench) -> dict[str, object]:
    """The variables that Ansible was given as JSON."""
    (text,) = [word for word in bench.said("ansible") if word.startswith("{")]
    found: dict[str, object] = json.loads(text)
    return found


def test_nothing_is_pushed_and_nothing_signed_without_the_word(bench: Bench) -> None:
    assert bench.run("source", "example.org:5000/tamma", "images.yml").returncode == 0
    assert told(bench) == {
        "tamma_images_push": False,
        "tamma_images_attestations": False,
        "tamma_images_platforms": [],
    }
    assert bench.said("cosign") == []


def test_what_is_pushed_is_attested_and_signed_by_digest(bench: Bench) -> None:
    assert bench.run("source", "example.org:5000/tamma", "images.yml", "push").returncode == 0
    assert told(bench) == {
        "tamma_images_push": True,
        "tamma_images_attestations": True,
        "tamma_images_platforms": ["linux/amd64", "linux/arm64"],
    }
    assert bench.said("cosign") == [
        f"sign --yes example.org:5000/tamma/{name}@{digest}"
        for name, digest in zip(("tamma-api", "tamma-engine"), DIGESTS, strict=True)
    ]


def test_cosign_3_signs_in_the_form_that_hosts_compare(bench: Bench) -> None:
    assert bench.run("source", "example.org:5000/tamma", "images.yml", "push", COSIGN_MAJOR="3").returncode == 0
    words = "sign --yes --new-bundle-format=false --use-signing-config=false example.org:5000/tamma/"
    assert [line.startswith(words) for line in bench.said("cosign")] == [True, True]


def test_a_key_signs_instead_and_a_newer_cosign_as_an_older_one_reads_it(bench: Bench) -> None:
    words = ("source", "example.org:5000/tamma", "images.yml", "push")
    assert bench.run(*words, COSIGN_PRIVATE_KEY="canary", COSIGN_MAJOR="3").returncode == 0
    assert bench.said("cosign")[0] == (
        "sign --yes --key env://COSIGN_PRIVATE_KEY --tlog-upload=false --new-bundle-format=false"
        f" --use-signing-config=false example.org:5000/tamma/tamma-api@{DIGESTS[0]}"
    )


def test_without_a_cosign_nothing_is_even_built(bench: Bench) -> None:
    done = bench.run("source", "example.org/tamma", "images.yml", "push", COSIGN="no-such-program")
    assert (done.returncode, bench.said("ansible")) == (1, [])
    assert done.stderr == "publish: there is no cosign, and nothing is pushed that is not signed.\n"


def test_a_build_that_fails_signs_nothing(bench: Bench) -> None:
    assert bench.run("source", "example.org/tamma", "images.yml", "push", ANSIBLE_STATUS="2").returncode == 2
    assert bench.said("cosign") == []


def test_a_signature_that_fails_fails_the_run(bench: Bench) -> None:
    done = bench.run("source", "example.org/tamma", "images.yml", "push", COSIGN_STATUS="1")
    assert done.returncode == 1
    assert done.stderr.endswith("was pushed, and cannot be signed: see above, and run this again.\n")


def test_a_result_without_digests_is_no_success(bench: Bench) -> None:
    (bench.directory / "result").write_text("tamma_images_environment:\n")
    done = bench.run("source", "example.org/tamma", "images.yml", "push")
    assert (done.returncode, done.stderr) == (1, "publish: images.yml has no digests: nothing was signed.\n")


@pytest.mark.parametrize("words", [(), ("source",), ("source", "r", "f", "pull"), ("nowhere", "r", "f")])
def test_what_it_does_not_know_is_refused(bench: Bench, words: tuple[str, ...]) -> None:
    done = bench.run(*words)
    assert (done.returncode, bench.said("ansible")) == (1, [])
    assert "publish: " in done.stderr
