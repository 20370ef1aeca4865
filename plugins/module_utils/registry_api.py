# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry serves, asked over its own interface (the OCI distribution specification), and tags set there.

A tag that is set so moves no layer, and none before every image of a release is there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_SECONDS = 30
_HUB = "docker.io"
_HUB_SERVER = "registry-1.docker.io"
_HUB_LOGIN = "https://index.docker.io/v1/"
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Dict[str, str]
    body: bytes


#: (method, address, headers, body) → answer; raises OSError when nobody answers.
Ask = Callable[[str, str, Dict[str, str], Optional[bytes]], Answer]


class Served(NamedTuple):
    """An image as a registry serves it."""

    digest: str
    #: Of the first architecture that it has.
    labels: Dict[str, str]
    #: Bytes of the layers of that architecture, as they travel.
    size: int
    platforms: List[str]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Blobs may lie elsewhere; a login that is for the registry does not go along."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow, without the login."""
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None:
            made.remove_header("Authorization")
        return made


def ask(method: str, address: str, headers: Dict[str, str], body: Optional[bytes]) -> Answer:
    """Ask a server."""
    # Its scheme is one of ours, or of a server whose certificate was checked.
    request = urllib.request.Request(address, data=body, headers=headers, method=method)  # noqa: S310
    opener = urllib.request.build_opener(
        _NoRedirect(), urllib.request.HTTPSHandler(context=ssl.create_default_context())
    )
    try:
        with opener.open(request, timeout=_SECONDS) as response:
            return Answer(
                response.status, {key.lower(): value for key, value in response.headers.items()}, response.read()
            )
    except urllib.error.HTTPError as error:
        return Answer(error.code, {key.lower(): value for key, value in error.headers.items()}, error.read())


def login_of(registry: str, runner: Runner, directory: str) -> Optional[Tuple[str, str]]:
    """The account for a registry that the client's configuration in *directory* has or leads to."""
    try:
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return None
    name = _HUB_LOGIN if registry == _HUB else registry
    helper = (config.get("credHelpers") or {}).get(name) or config.get("credsStore")
    entry = (config.get("auths") or {}).get(name) or {}
    if entry.get("auth"):
        username, _colon, password = base64.b64decode(entry["auth"]).decode("utf-8", "replace").partition(":")
        return username, entry.get("identitytoken") or password
    if helper:
        done = runner.run(["docker-credential-%s" % helper, "get"], stdin=name)
        if done.rc == 0:
            found = json.loads(done.out)
            return str(found["Username"]), str(found["Secret"])
    return None


def split(reference: str) -> Tuple[str, str]:
    """A repository's name as its registry and its path there."""
    first, slash, rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return _HUB, reference if slash else "library/" + reference


class Registry:
    """A registry, and the account with which it is asked.

    insecure: whether it may be asked without TLS, as those on this machine always may.
    """

    def __init__(
        self, name: str, login: Optional[Tuple[str, str]] = None, insecure: bool = False, asking: Ask = ask
    ) -> None:
        self.name = name
        self._login = login
        self._ask = asking
        self._plain = insecure or _LOOPBACK.fullmatch(name) is not None
        self._base = ""
        self._authorization: Dict[str, str] = {}

    @property
    def plain_http(self) -> bool:
        """Whether it answers without TLS, as far as it was asked."""
        return self._base.startswith("http://")

    def served(self, path: str, tag: str) -> Optional[Served]:
        """What is under a tag; None when nothing is."""
        answer = self._manifest(path, tag)
        if answer is None:
            return None
        digest = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        manifest, platforms = json.loads(answer.body), []
        if answer.headers.get("content-type", "").split(";")[0] in _INDEXES:
            # An attestation stands in an index like an image, for an architecture that nobody has.
            real = [item for item in manifest["manifests"] if item.get("platform", {}).get("os") != "unknown"]
            platforms = ["%(os)s/%(architecture)s" % item["platform"] for item in real if "platform" in item]
            inner = self._manifest(path, real[0]["digest"]) if real else None
            if inner is None:
                return Served(digest, {}, 0, platforms)
            manifest = json.loads(inner.body)
        config = self._request("GET", "/v2/%s/blobs/%s" % (path, manifest["config"]["digest"]), path, {})
        described = json.loads(config.body) if config.status == 200 else {}
        labels = (described.get("config") or {}).get("Labels") or {}
        if not platforms and described.get("os"):
            platforms = ["%s/%s" % (described["os"], described.get("architecture"))]
        return Served(digest, labels, sum(layer["size"] for layer in manifest["layers"]), platforms)

    def tag(self, path: str, digest: str, tag: str) -> None:
        """Let a tag mean an image that is there."""
        found = self._manifest(path, digest)
        if found is None:
            raise OperatorError("%s/%s has no %s any more." % (self.name, path, digest))
        headers = {"Content-Type": found.headers["content-type"]}
        done = self._request("PUT", "/v2/%s/manifests/%s" % (path, tag), path, headers, found.body)
        if done.status not in (200, 201, 202):
            raise OperatorError("%s sets no tag %s on %s: %s." % (self.name, tag, path, _reason(done)))

    def check_push(self, path: str) -> None:
        """Raise OperatorError unless an image could be pushed: an upload is begun, and ended without content."""
        begun = self._request("POST", "/v2/%s/blobs/uploads/" % path, path, {}, b"")
        if begun.status != 202:
            why = "the login is refused" if begun.status in (401, 403) else _reason(begun)
            raise OperatorError(
                "%s lets nobody push %s with this login: %s. See tamma_images_registry_logins. Nothing was changed."
                % (self.name, path, why)
            )
        place = urllib.parse.urljoin(self._base, begun.headers.get("location", ""))
        if place.startswith(self._base):
            self._request("DELETE", place[len(self._base) :], path, {})

    def _manifest(self, path: str, reference: str) -> Optional[Answer]:
        accepted = {"Accept": ", ".join([*_INDEXES, *_MANIFESTS])}
        answer = self._request("GET", "/v2/%s/manifests/%s" % (path, reference), path, accepted)
        if answer.status == 404:
            return None
        # GitHub's registry says so of a package that is not there yet.
        if answer.status in (401, 403) and b"DENIED" in answer.body.upper():
            return None
        if answer.status != 200:
            refused = "the login is refused, see tamma_images_registry_logins"
            why = refused if answer.status in (401, 403) else _reason(answer)
            raise OperatorError(
                "%s does not say what %s:%s is: %s. Nothing was changed." % (self.name, path, reference, why)
            )
        return answer

    def _request(
        self, method: str, place: str, path: str, headers: Dict[str, str], body: Optional[bytes] = None
    ) -> Answer:
        base = self._found()
        answer = self._ask(method, base + place, {**headers, **self._authorization}, body)
        if answer.status == 401:
            self._authorization = self._authorized(answer.headers.get("www-authenticate", ""), path)
            if self._authorization:
                answer = self._ask(method, base + place, {**headers, **self._authorization}, body)
        return answer

    def _found(self) -> str:
        """The address at which it answers."""
        if not self._base:
            server = _HUB_SERVER if self.name == _HUB else self.name
            tried = ["https://" + server, *(["http://" + server] if self._plain else [])]
            reason: object = ""
            for base in tried:
                try:
                    self._ask("GET", base + "/v2/", {}, None)
                except (OSError, ValueError) as exc:
                    reason = getattr(exc, "reason", exc)
                    continue
                self._base = base
                break
            else:
                raise OperatorError("The registry %s does not answer: %s. Nothing was changed." % (self.name, reason))
        return self._base

    def _authorized(self, challenge: str, path: str) -> Dict[str, str]:
        scheme, _space, rest = challenge.partition(" ")
        basic = {}
        if self._login:
            encoded = base64.b64encode(("%s:%s" % self._login).encode("utf-8")).decode("ascii")
            basic = {"Authorization": "Basic " + encoded}
        if scheme.lower() != "bearer":
            return basic
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        query = {"scope": "repository:%s:pull,push" % path}
        if asked.get("service"):
            query["service"] = asked["service"]
        realm = asked.get("realm", "")
        if not realm.startswith(("https://", "http://") if self._plain else "https://"):
            return {}
        answer = self._ask("GET", "%s?%s" % (realm, urllib.parse.urlencode(query)), basic, None)
        if answer.status != 200:
            return {}
        given = json.loads(answer.body)
        return {"Authorization": "Bearer %s" % (given.get("token") or given.get("access_token"))}


def _reason(answer: Answer) -> str:
    try:
        found = json.loads(answer.body)["errors"][0]
        return str(found.get("message") or found["code"]).rstrip(".")
    except (ValueError, KeyError, IndexError, TypeError):
        return "it answers %d" % answer.status
