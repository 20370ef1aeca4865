# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images are believed: signatures as cosign makes them, compared by openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import signatures
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Manifest, digest_of
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

REPOSITORY = "ghcr.io/meywd/tamma-api"
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KEYLESS = {"images": "*", "issuer": "https://issuer.example"}
IMAGE = f"{REPOSITORY}:1.0.0@{DIGEST}"


class Key:
    """A pair of keys that openssl made."""

    def __init__(self, path: Path, *kind: str) -> None:
        self._path = path
        subprocess.run(["openssl", "genpkey", *kind, "-out", path], check=True, capture_output=True)
        self.public = subprocess.run(
            ["openssl", "pkey", "-in", path, "-pubout"], check=True, capture_output=True, text=True
        ).stdout

    def sign(self, payload: bytes) -> str:
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._path], input=payload, check=True, capture_output=True
        )
        return base64.b64encode(done.stdout).decode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[Key]:
    place = tmp_path_factory.mktemp("keys")
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    return [Key(place / "own", *curve), Key(place / "foreign", *curve), Key(place / "rsa", "-algorithm", "RSA")]


def payload(
    digest: str = DIGEST, repository: str = REPOSITORY, kind: str = "cosign container image signature"
) -> bytes:
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": kind,
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


class Place:
    """A registry with the signatures of one image."""

    def __init__(self, *signed: tuple[bytes, str]) -> None:
        self._payloads = {digest_of(content): content for content, _signature in signed}
        self._layers = [
            {
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": digest_of(content),
                "annotations": {"dev.cosignproject.cosign/signature": signature},
            }
            for content, signature in signed
        ]
        self.asked = 0

    def manifest(self, _repository: str, reference: str) -> Manifest | None:
        self.asked += 1
        if not self._layers or reference != "sha256-" + "a" * 64 + ".sig":
            return None
        return Manifest(json.dumps({"layers": self._layers}).encode(), "")

    def blob(self, _repository: str, digest: str) -> bytes | None:
        return self._payloads.get(digest)


def problem(tmp_path: Path, place: Place, *rules: dict[str, Any], image: str = IMAGE) -> str:
    """What is said of an image; what is believed is remembered."""
    record = signatures.Record(str(tmp_path))
    trust = signatures.parse(list(rules))
    found = signatures.Verifier(trust, Runner(), place, record, str(tmp_path / "run" / "x-")).problem(image)
    record.keep()
    assert not list((tmp_path / "run").glob("*"))
    return found


def rule(key: Key, **more: Any) -> dict[str, Any]:
    return {"images": "ghcr.io/meywd/*", "key": key.public, **more}


@pytest.mark.parametrize("number", [0, 2], ids=["P-256", "RSA"])
def test_a_signature_for_this_digest_and_repository_is_believed(tmp_path: Path, keys: list[Key], number: int) -> None:
    signed = payload()
    assert problem(tmp_path, Place((signed, keys[number].sign(signed))), rule(keys[number])) == ""


def test_one_of_several_is_enough(tmp_path: Path, keys: list[Key]) -> None:
    signed = payload()
    place = Place((signed, keys[1].sign(signed)), (signed, keys[0].sign(signed)))
    assert problem(tmp_path, place, rule(keys[0])) == ""
    assert problem(tmp_path, place, rule(keys[2]), rule(keys[1])) == ""


@pytest.mark.parametrize(
    ("signed", "signer", "words"),
    [
        (None, 0, "has no signature for what is behind it now"),
        (payload(), 1, "has no signature of a key"),
        (payload(OTHER), 0, "is for another image"),
        (payload(repository="ghcr.io/meywd/tamma-elsa"), 0, "for the repository ghcr.io/meywd/tamma-elsa only"),
        (payload(kind="something else"), 0, "is for another image"),
        (b"[]", 0, "is for another image"),
    ],
    ids=["none", "foreign", "another image", "another repository", "another kind", "no claim"],
)
def test_everything_else_is_refused(
    tmp_path: Path, keys: list[Key], signed: bytes | None, signer: int, words: str
) -> None:
    place = Place() if signed is None else Place((signed, keys[signer].sign(signed)))
    said = problem(tmp_path, place, rule(keys[0]))
    assert said.startswith(f"{REPOSITORY}:1.0.0 ")
    assert words in said
    # And is not remembered as something else.
    assert problem(tmp_path, place, rule(keys[0])) == said


@pytest.mark.parametrize("signature", ["", "no base64!", base64.b64encode(b"nothing").decode()])
def test_a_signature_that_is_none_is_none(tmp_path: Path, keys: list[Key], signature: str) -> None:
    assert "has no signature" in problem(tmp_path, Place((payload(), signature)), rule(keys[0]))


def test_a_payload_that_was_altered_has_no_signature(tmp_path: Path, keys: list[Key]) -> None:
    place = Place((payload(), keys[0].sign(payload(OTHER))))
    assert "has no signature of a key" in problem(tmp_path, place, rule(keys[0]))


def test_an_image_that_was_copied_is_believed_by_where_it_was_signed(tmp_path: Path, keys: list[Key]) -> None:
    signed = payload()
    place = Place((signed, keys[0].sign(signed)))
    mirrored = {"image": f"mirror.example:5000/tamma/tamma-api:1@{DIGEST}"}
    here = {"images": "mirror.example:5000/*"}
    assert "signed_as" in problem(tmp_path, place, rule(keys[0], **here), **mirrored)
    assert problem(tmp_path, place, rule(keys[0], **here, signed_as="ghcr.io/meywd/"), **mirrored) == ""
    assert "only" in problem(tmp_path, place, rule(keys[0], **here, signed_as="ghcr.io/other"), **mirrored)


def test_what_was_believed_needs_nobody_again_until_its_key_goes(tmp_path: Path, keys: list[Key]) -> None:
    signed = payload()
    assert problem(tmp_path, Place((signed, keys[0].sign(signed))), rule(keys[0])) == ""
    nobody = Place()
    assert problem(tmp_path, nobody, rule(keys[0])) == ""
    assert nobody.asked == 0
    assert "no signature" in problem(tmp_path, nobody, rule(keys[1]))
    assert "no signature" in problem(tmp_path, nobody, rule(keys[0]), image=f"{REPOSITORY}:1.0.0@{OTHER}")
    assert "no signature" in problem(tmp_path, nobody, rule(keys[0]), image=f"ghcr.io/meywd/tamma-elsa:1@{DIGEST}")


@pytest.mark.parametrize(
    ("rules", "image", "words"),
    [
        ([{"images": "docker.io/library/postgres", "digests": [DIGEST]}], f"postgres:15@{DIGEST}", ""),
        ([{"images": "postgres", "digests": [DIGEST]}], f"docker.io/library/postgres:15@{DIGEST}", ""),
        ([{"images": "docker.io/library/postgres", "digests": [OTHER]}], f"postgres:15@{DIGEST}", "another digest"),
        ([{"images": "ghcr.io/*", "digests": [OTHER]}], f"postgres:15@{DIGEST}", ""),
        ([{"images": "*"}], f"postgres:15@{DIGEST}", "is not believed"),
        ([{"images": "*"}, {"images": "postgres", "digests": [DIGEST]}], f"postgres:15@{DIGEST}", ""),
    ],
)
def test_images_that_nobody_signs(tmp_path: Path, rules: list[dict[str, Any]], image: str, words: str) -> None:
    said = problem(tmp_path, Place(), *rules, image=image)
    assert words in said
    assert bool(said) == bool(words)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"images": "*"}, "is a list"),
        (["a key"], "rule 1 of tamma_stack_image_keys is a dictionary"),
        (
            [{"images": "*", "keys": "x"}],
            "is a dictionary of images, key, digests, signed_as, issuer, identity, identity_regexp",
        ),
        ([{"key": ""}], "does not say for which images"),
        ([{"images": "*", "key": "ssh-ed25519 AAAA"}], "no public key"),
        ([{"images": "*", "digests": ["sha256:1"]}], "64 hexadecimal"),
        ([{"images": "*", "issuer": "https://issuer.example"}], "both an issuer and an identity"),
        ([{"images": "*", "identity_regexp": "https://me/.+"}], "both an issuer and an identity"),
        ([{**KEYLESS, "identity": "me", "identity_regexp": "me"}], "both an issuer and an identity"),
        ([{**KEYLESS, "identity_regexp": "a)|(b"}], "is no regular expression"),
        ([{**KEYLESS, "identity_regexp": r"\Qa"}], "is no regular expression"),
        ([{**KEYLESS, "identity_regexp": ".*"}], "that anybody fits"),
        ([{**KEYLESS, "identity_regexp": "https://github.com/.+"}], "that anybody fits"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: Any, words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        signatures.parse(rules)


def test_a_private_key_is_refused_and_not_shown() -> None:
    key = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nabcdef\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"
    with pytest.raises(OperatorError, match="give the public one") as caught:
        signatures.parse([{"images": "*", "key": key}])
    assert "abcdef" not in caught.value.message


def test_a_key_that_openssl_cannot_read_is_told(tmp_path: Path) -> None:
    broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    with pytest.raises(OperatorError, match="cannot be read by openssl"):
        problem(tmp_path, Place((payload(), "AAAA")), {"images": "*", "key": broken})


@pytest.fixture
def cosign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cosign that believes one identity."""
    program = tmp_path / "bin" / "cosign"
    program.parent.mkdir()
    claim = json.dumps([json.loads(payload())])
    believes = f"case \"$*\" in *--certificate-identity\\ me*) echo '{claim}';; *) exit 1;; esac"
    program.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\n{believes}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path / "asked"


def keyless(tmp_path: Path, identity: str, image: str = IMAGE) -> str:
    trust = signatures.parse([{"images": "*", "issuer": "https://issuer.example", "identity": identity}])
    record = signatures.Record(str(tmp_path))
    place = str(tmp_path / "run" / "x-")
    return signatures.Verifier(trust, Runner(), Place(), record, place, Runner()).problem(image)


def test_an_identity_is_for_cosign_to_prove(tmp_path: Path, cosign: Path) -> None:
    assert keyless(tmp_path, "me") == ""
    assert cosign.read_text().split() == [
        *("verify", "--certificate-oidc-issuer", "https://issuer.example", "--certificate-identity", "me"),
        f"{REPOSITORY}@{DIGEST}",
    ]
    assert "no signature of an identity" in keyless(tmp_path, "you")
    assert "no signature of an identity" in keyless(tmp_path, "me", f"ghcr.io/meywd/tamma-elsa:1@{DIGEST}")


def test_a_pattern_of_identities_has_to_fit_all_of_one(tmp_path: Path, cosign: Path) -> None:
    pattern = r"https://github\.com/me/it/\.github/workflows/x\.yml@refs/tags/v[0-9.]+"
    rules = signatures.parse([{**KEYLESS, "identity_regexp": pattern}])
    record = signatures.Record(str(tmp_path))
    found = signatures.Verifier(rules, Runner(), Place(), record, str(tmp_path / "run" / "x-"), Runner()).problem(IMAGE)
    assert "no signature of an identity" in found
    assert cosign.read_text().split()[3:5] == ["--certificate-identity-regexp", f"^(?:{pattern})$"]
    (other,) = signatures.parse([{**KEYLESS, "identity_regexp": pattern + "x"}]).rules
    assert other.fingerprint != rules.rules[0].fingerprint


def test_without_cosign_or_a_registry_an_identity_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperatorError, match="This machine has no cosign"):
        keyless(tmp_path, "me")
    with pytest.raises(OperatorError, match="carried need a rule with a key"):
        problem(tmp_path, Place(), {"images": "*", "issuer": "https://issuer.example", "identity": "me"})
