# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images may run here: those that have a signature of a known key, for exactly this digest and this repository.

The signatures are those of ``cosign``, which stand beside an image in its registry under the tag ``sha256-….sig``.
``openssl``, which every host has, compares them with the key; nothing has to be installed for it.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import os
import re
import shutil
import tempfile
from typing import Any, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import images
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, write
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Manifest
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

# Whom this host believes, with the stack's files.
FILE = "trust.json"
# What was verified before: a boot, a rollback and a host without a network ask nobody again.
RECORD = ".tamma/verified.json"
_KEPT = 500

_SIGNED = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CLAIM = "cosign container image signature"
_PUBLIC = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_UNREADABLE = re.compile(r"unable to load key|could not (find|read)[^\n]*key", re.I)
_MOST_SIGNATURES = 50
_ANYBODY = ("", "somebody@example.com", "https://github.com/a/b/.github/workflows/c.yml@refs/heads/d")
_VARIABLE = "tamma_stack_image_keys"


class Rule(NamedTuple):
    """Which images are believed, and why.

    images: a pattern for the names of repositories. key: a public key, one of whose signatures they need. digests:
    those that need none. signed_as: where the images were signed, if they were copied from there: the repository's
    last part is the same. issuer, identity: who may sign without a key of his own, and who says that it is he; cosign
    on the host asks for that. identity_regexp: instead of one identity, a pattern that all of it has to fit.
    """

    images: str
    key: str = ""
    digests: Tuple[str, ...] = ()
    signed_as: str = ""
    issuer: str = ""
    identity: str = ""
    identity_regexp: str = ""

    def matches(self, repository: str) -> bool:
        """Whether the rule is about a repository, which is called by its full name."""
        return fnmatch.fnmatchcase(repository, self.images if self.images == "*" else images.repository(self.images))

    def claimed(self, repository: str) -> str:
        """The name that a signature has to be for."""
        return "%s/%s" % (self.signed_as.rstrip("/"), repository.rpartition("/")[2]) if self.signed_as else repository

    @property
    def fingerprint(self) -> str:
        """What the rule is called in the record."""
        words = "".join(self.key.split()) + self.signed_as + self.issuer + self.identity
        if self.identity_regexp:
            words += "\n" + self.identity_regexp
        return hashlib.sha256(words.encode()).hexdigest()[:16]


class Trust(NamedTuple):
    """Every rule; an image that one rule is about needs one that believes it."""

    rules: Tuple[Rule, ...] = ()

    def about(self, repository: str) -> List[Rule]:
        """The rules about a repository."""
        return [rule for rule in self.rules if rule.matches(repository)]


def parse(content: Any) -> Trust:
    """Read the rules, as they stand in the inventory. Raises OperatorError for one that makes no sense."""
    if not isinstance(content, list):
        raise OperatorError("%s is a list of rules, each with a key or with digests." % _VARIABLE)
    return Trust(tuple(_rule(number, item) for number, item in enumerate(content, 1)))


def _rule(number: int, item: Any) -> Rule:
    where = "The rule %d of %s" % (number, _VARIABLE)
    if not isinstance(item, dict) or not set(item) <= set(Rule._fields):
        raise OperatorError("%s is a dictionary of %s." % (where, ", ".join(Rule._fields)))
    values = {key: value for key, value in item.items() if value}
    key = str(values.get("key", ""))
    digests = values.get("digests", [])
    if "PRIVATE KEY" in key:
        raise OperatorError("%s has a private key: give the public one (cosign.pub), and keep this one secret." % where)
    if key and not _PUBLIC.match(key):
        raise OperatorError("%s has no public key in PEM form (-----BEGIN PUBLIC KEY-----), as cosign.pub is." % where)
    if not isinstance(digests, list) or not all(_DIGEST.match(str(one)) for one in digests):
        raise OperatorError("%s has digests that are none: each is sha256: and 64 hexadecimal digits." % where)
    who = [name for name in ("identity", "identity_regexp") if values.get(name)]
    if len(who) != bool(values.get("issuer")) or (key and who):
        raise OperatorError(
            "%s has a key, or both an issuer and an identity (or identity_regexp), as 'cosign verify' asks for." % where
        )
    _refuse_pattern(where, str(values.get("identity_regexp", "")))
    if not values.get("images"):
        raise OperatorError("%s does not say for which images it is." % where)
    texts = [str(values.get(name, "")) for name in ("signed_as", "issuer", "identity", "identity_regexp")]
    return Rule(str(values["images"]), key.strip(), tuple(map(str, digests)), *texts)


def _refuse_pattern(where: str, pattern: str) -> None:
    """Refuse what is no pattern by itself, which would not stay between our anchors, and one that anybody fits."""
    try:
        known = re.compile(pattern)
    except re.error as exc:
        raise OperatorError("%s has an identity_regexp that is no regular expression: %s." % (where, exc)) from exc
    if pattern and any(known.fullmatch(who) for who in _ANYBODY):
        raise OperatorError(
            "%s has an identity_regexp that anybody fits: name the repository and its workflow." % where
        )


def of_files(files: Iterable[File]) -> Trust:
    """The rules among a stack's files."""
    content = next((item.content for item in files if item.path == FILE), None)
    return of_text(content)


def of_text(content: Optional[str]) -> Trust:
    """The rules in the file."""
    if content is None:
        return Trust()
    try:
        return parse(json.loads(content))
    except ValueError as exc:
        raise OperatorError("%s cannot be read (%s): deploy with the playbook site." % (FILE, exc)) from exc


class Source:
    """Where images and their signatures are: a registry, or an archive. This one has none."""

    def manifest(self, _repository: str, _reference: str) -> Optional[Manifest]:
        """See ``registry_client.Client``."""
        return None

    def blob(self, _repository: str, _digest: str) -> Optional[bytes]:
        """See ``registry_client.Client``."""
        return None


class Record:
    """What was verified on this host before."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        try:
            known = json.loads(read(os.path.join(directory, RECORD)) or "[]")
        except ValueError:
            known = []
        self._known: List[str] = [str(item) for item in known] if isinstance(known, list) else []
        self._new: List[str] = []

    def has(self, repository: str, digest: str, rules: Sequence[Rule]) -> bool:
        """Whether one of *rules* has believed this digest before."""
        return any(_line(repository, digest, rule) in self._known for rule in rules)

    def add(self, repository: str, digest: str, rule: Rule) -> None:
        """Remember it; :meth:`keep` writes it down."""
        self._new.append(_line(repository, digest, rule))

    def keep(self) -> None:
        """Put it on the disk."""
        if self._new:
            self._known = [*(item for item in self._known if item not in self._new), *self._new][-_KEPT:]
            self._new = []
            write(self._directory, [File(RECORD, json.dumps(self._known, indent=1) + "\n", 0o600)])


def _line(repository: str, digest: str, rule: Rule) -> str:
    return "%s@%s %s" % (repository, digest, rule.fingerprint)


class Verifier:
    """Says whether images are believed."""

    def __init__(
        self,
        trust: Trust,
        runner: Runner,
        source: Any,
        record: Record,
        scratch: str,
        cosign: Optional[Runner] = None,
    ) -> None:
        """*source*: see Source. *scratch*: begins the path of what stands on the disk meanwhile.

        cosign: runs it with the logins for the registries; without it there are none.
        """
        self._cosign = cosign
        self.trust = trust
        self._runner = runner
        self._source = source
        self._record = record
        self._scratch = scratch

    def problem(self, reference: str) -> str:
        """Why an image (name:tag@digest) is not believed; empty if it is, or if no rule is about it."""
        name, _at, digest = reference.partition("@")
        repository = images.repository(images.untagged(name))
        rules = self.trust.about(repository)
        if not rules or any(digest in rule.digests for rule in rules):
            return ""
        signing = [rule for rule in rules if rule.key or rule.issuer]
        if not signing and not any(rule.digests for rule in rules):
            return "%s is not believed: no rule of %s about it has a key." % (images.tagged(reference), _VARIABLE)
        if not signing:
            return "%s has another digest (%s) than those that %s names." % (
                images.tagged(reference),
                digest,
                _VARIABLE,
            )
        if self._record.has(repository, digest, signing):
            return ""
        for rule in signing:
            if rule.issuer and self._is_signed_by(rule, repository, digest):
                self._record.add(repository, digest, rule)
                return ""
        signing = [rule for rule in signing if rule.key]
        if not signing:
            return "%s has no signature of an identity that %s names for it (%s)." % (
                images.tagged(reference),
                _VARIABLE,
                digest,
            )
        found = self._signatures(repository, digest)
        if not found:
            return "%s has no signature for what is behind it now (%s)." % (images.tagged(reference), digest)
        elsewhere = ""
        for payload, signature in found:
            for rule in signing:
                if not self._is_of(rule.key, payload, signature):
                    continue
                claim = claims(payload)
                if claim.digest != digest:
                    return "%s has a signature that is for another image (%s)." % (
                        images.tagged(reference),
                        claim.digest or "none",
                    )
                if images.repository(claim.repository) != images.repository(rule.claimed(repository)):
                    elsewhere = claim.repository
                    continue
                self._record.add(repository, digest, rule)
                return ""
        if elsewhere:
            return "%s has a signature for the repository %s only; signed_as in %s says where images were signed." % (
                images.tagged(reference),
                elsewhere,
                _VARIABLE,
            )
        return "%s has no signature of a key that %s names for it (%s)." % (images.tagged(reference), _VARIABLE, digest)

    def _signatures(self, repository: str, digest: str) -> List[Tuple[bytes, bytes]]:
        manifest = self._source.manifest(repository, signature_tag(digest))
        found = []
        for layer in (manifest.parsed.get("layers") or [])[:_MOST_SIGNATURES] if manifest else []:
            text = (layer.get("annotations") or {}).get(_SIGNATURE, "")
            if layer.get("mediaType") == _SIGNED and text:
                payload = self._source.blob(repository, str(layer.get("digest", "")))
                if payload is not None:
                    found.append((payload, _decoded(text)))
        return found

    def _is_signed_by(self, rule: Rule, repository: str, digest: str) -> bool:
        """Whether cosign finds a signature of somebody who had no key of his own."""
        if self._cosign is None:
            raise OperatorError(
                "A rule of %s names an identity, which only a registry and cosign's authorities can prove: images that "
                "are carried need a rule with a key. Nothing was changed." % _VARIABLE
            )
        if not shutil.which("cosign"):
            raise OperatorError(
                "This machine has no cosign, which a rule of %s with an identity needs: install it (Debian 13 has a "
                "package cosign), or use rules with keys. Nothing was changed." % _VARIABLE
            )
        # cosign looks for a pattern anywhere in an identity.
        who = (
            ["--certificate-identity-regexp", "^(?:%s)$" % rule.identity_regexp]
            if rule.identity_regexp
            else ["--certificate-identity", rule.identity]
        )
        options = ["--certificate-oidc-issuer", rule.issuer, *who]
        done = self._cosign.run(["cosign", "verify", *options, "%s@%s" % (repository, digest)], timeout=120)
        if done.rc:
            return False
        named = re.findall(r'"docker-reference":\s*"([^"]+)"', done.out)
        return not named or any(images.repository(one) == rule.claimed(repository) for one in named)

    def _is_of(self, key: str, payload: bytes, signature: bytes) -> bool:
        """Whether a signature was made with a key."""
        os.makedirs(os.path.dirname(self._scratch), mode=0o700, exist_ok=True)
        place = tempfile.mkdtemp(prefix=os.path.basename(self._scratch), dir=os.path.dirname(self._scratch))
        paths = {name: os.path.join(place, name) for name in ("key", "payload", "signature")}
        try:
            for name, content in (("key", key.encode() + b"\n"), ("payload", payload), ("signature", signature)):
                with open(paths[name], "wb") as handle:
                    handle.write(content)
            argv = ["openssl", "dgst", "-sha256", "-verify", paths["key"], "-signature", paths["signature"]]
            done = self._runner.run([*argv, paths["payload"]], timeout=30)
        finally:
            shutil.rmtree(place)
        if done.rc and _UNREADABLE.search(done.err):
            raise OperatorError("A key of %s cannot be read by openssl: give cosign.pub as it is." % _VARIABLE)
        return done.rc == 0 and "Verified OK" in done.out


class Claim(NamedTuple):
    """What a signature is for."""

    repository: str
    digest: str


def claims(payload: bytes) -> Claim:
    """Read what a signature is for; nothing if it is for no image."""
    try:
        critical = json.loads(payload)["critical"]
        if critical["type"] != _CLAIM:
            return Claim("", "")
        return Claim(str(critical["identity"]["docker-reference"]), str(critical["image"]["docker-manifest-digest"]))
    except (ValueError, KeyError, TypeError):
        return Claim("", "")


def signature_tag(digest: str) -> str:
    """Where the signatures of a digest are in its repository."""
    return digest.replace(":", "-") + ".sig"


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def refusal(problems: Sequence[str]) -> str:
    """The sentences for images that are not believed."""
    return "\n".join([*sorted(set(problems)), "Nothing was pulled or changed."])
