# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing images in their registry with ``cosign``, and attesting what they are made of.

The key and its password reach cosign through its environment: no file has them, and no command line. Signatures have
the form of cosign 2, which hosts compare: the newer one, that cosign 3 writes by itself, has no name of a
repository in it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from types import MappingProxyType
from typing import List, Mapping, NamedTuple, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils import images, registry
from ansible_collections.meywd.tamma.plugins.module_utils.compose import last_line, registry_of
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}\Z")
# Where cosign finds the key: the name of a variable.
_KEY = "env://COSIGN_PRIVATE_KEY"
_FORM = ("--new-bundle-format=false", "--use-signing-config=false")

# The first that fits counts.
_FAILURES = (
    (re.compile(r"decrypt|password|encrypted key", re.I), "the password does not fit the key"),
    (re.compile(r"invalid pem|parsing|unsupported pem", re.I), "the key is none that cosign knows"),
    (
        re.compile(r"unauthorized|denied|authentication required", re.I),
        "the registry refused the login: name an account that may write there",
    ),
    (re.compile(r"manifest.?unknown|name.?unknown|not found", re.I), "the registry does not have it: push it first"),
    (
        re.compile(r"HTTP response to HTTPS client", re.I),
        "the registry speaks plain HTTP: allow that if nobody else can reach that network",
    ),
    (
        re.compile(r"dial tcp|no such host|refused|timeout|unreachable|x509|EOF", re.I),
        "the registry cannot be reached from here: check its name, the network and its certificate",
    ),
)


class Signer(NamedTuple):
    """Who signs. key: cosign's private key, as text. known_as: what hosts call the registry, if not as we do.

    plain_http: whether the registry may be spoken to without TLS. form: what each command takes for the form of
    cosign 2.
    """

    runner: Runner
    key: str
    password: str
    program: str = "cosign"
    known_as: str = ""
    plain_http: bool = False
    form: Mapping[str, Sequence[str]] = MappingProxyType({})

    def knowing(self) -> "Signer":
        """The same one, which has asked its cosign for the options that it knows: help shows no deprecated ones."""
        form = {
            command: [word for word in _FORM if self._run(command, word, "--help").rc == 0]
            for command in ("verify", "sign", "attest")
        }
        return self._replace(form=form)

    def check(self, references: Sequence[str]) -> None:
        """Refuse what cannot be signed. Raises OperatorError."""
        if not shutil.which(self.program):
            raise OperatorError(
                "No image was signed, because this machine has no %s: install it (Debian 13 has a package cosign), or "
                "unset the key." % self.program
            )
        for image in references:
            if not _DIGEST.match(image):
                raise OperatorError(
                    "%s is not signed, because it is no image with a digest (name@sha256:...): what a tag means can "
                    "change between the push and the signature." % image
                )

    def public_key(self) -> str:
        """The public half of the key, as hosts take it."""
        done = self._run("public-key", "--key", _KEY)
        if done.rc:
            raise OperatorError("The key for signing cannot be used: %s." % _cause(done.err))
        return done.out.strip() + "\n"

    def is_signed(self, image: str, public_key: str) -> bool:
        """Whether a digest has a signature of this key already, for the repository that it is in."""
        with tempfile.NamedTemporaryFile("w", suffix=".pub") as key:
            key.write(public_key)
            key.flush()
            done = self._run(
                "verify", "--key", key.name, "--insecure-ignore-tlog=true", *self._options("verify"), image
            )
        return done.rc == 0 and '"docker-reference":"%s"' % self.identity(image) in done.out

    def sign(self, image: str) -> None:
        """Put a signature of a digest beside it."""
        options = ["--tlog-upload=false", "--yes", "--sign-container-identity", self.identity(image)]
        self._must(image, self._run("sign", "--key", _KEY, *options, *self._options("sign"), image))

    def attest(self, image: str, kind: str, path: str) -> None:
        """Put a signed statement of a kind ("spdxjson", "slsaprovenance1"...), from a file, beside a digest."""
        options = ["--tlog-upload=false", "--yes", "--replace", "--type", kind, "--predicate", path]
        self._must(image, self._run("attest", "--key", _KEY, *options, *self._options("attest"), image))

    def identity(self, image: str) -> str:
        """The repository of an image as hosts call it."""
        repository = images.untagged(image.partition("@")[0])
        return self.known_as + repository[len(registry_of(image)) :] if self.known_as else repository

    def _options(self, command: str) -> List[str]:
        plain = ["--allow-http-registry", "--allow-insecure-registry"] if self.plain_http else []
        return [*self.form.get(command, ()), *plain]

    def _run(self, *arguments: str) -> Result:
        env = {"COSIGN_PRIVATE_KEY": self.key, "COSIGN_PASSWORD": self.password}
        return self.runner.with_env(env).run([self.program, *arguments], timeout=300)

    def _must(self, image: str, done: Result) -> None:
        if done.rc:
            raise OperatorError("%s was not signed: %s." % (image, _cause(done.err)))


def sign(
    signer: Signer,
    references: Sequence[str],
    statements: Mapping[str, Mapping[str, str]],
    logins: Sequence[Login] = (),
    dry: bool = False,
) -> List[str]:
    """Sign images, and attest their statements (image → kind → file); return those that had no signature of the key.

    dry: find out only.
    """
    signer.check([*references, *statements])
    for path in (path for item in statements.values() for path in item.values()):
        if not os.path.isfile(path):
            raise OperatorError("No image was signed, because the statement %s is not there." % path)
    with registry.logged_in(signer.runner, list(logins), _scratch()) as runner:
        known = signer._replace(runner=runner)
        public = known.public_key()
        known = known.knowing()
        unsigned = [image for image in references if not known.is_signed(image, public)]
        for image in [] if dry else unsigned:
            for kind, path in sorted(statements.get(image, {}).items()):
                known.attest(image, kind, path)
            known.sign(image)
    return unsigned


def _scratch() -> str:
    """Where a login stands meanwhile: on a tmpfs, if we may write there."""
    directory = "/run" if os.access("/run", os.W_OK) else tempfile.gettempdir()
    return os.path.join(directory, "tamma-signing-")


def _cause(said: str) -> str:
    for pattern, words in _FAILURES:
        if pattern.search(said):
            return words
    return last_line(said)
