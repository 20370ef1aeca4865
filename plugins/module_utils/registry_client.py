# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a registry what is behind a name, without pulling it, over its own interface (the OCI distribution
specification), and tags set there: such a tag moves no layer.

Nothing that comes from there is believed: who asks by a digest gets what has this digest, or nothing.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from typing import IO, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import quote, urlencode, urljoin

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import read
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login, client_config
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

HUB = "docker.io"
_HUB_API = "registry-1.docker.io"
_HUB_LOGIN = "https://index.docker.io/v1/"
_CERTIFICATES = ("/etc/docker/certs.d", "/etc/containers/certs.d")
_SECONDS = 30
# A manifest is small; who sends more wants something else.
_MOST_BYTES = 4 << 20

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class Manifest(NamedTuple):
    """A manifest, or an index of several, as the registry has it."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """What it is called by its content."""
        return digest_of(self.content)

    @property
    def parsed(self) -> Dict[str, Any]:
        """What it says; nothing if it is none."""
        try:
            found = json.loads(self.content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def digest_of(content: bytes) -> str:
    """The digest of a content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Access(NamedTuple):
    """How the engine of this host reaches registries. insecure: those without TLS, or with a certificate of anybody.

    proxies: as for urllib, "no" among them.
    """

    insecure: Tuple[str, ...] = ()
    proxies: Mapping[str, str] = {}


_PLAIN = Access()


class Served(NamedTuple):
    """An image as a registry serves it."""

    digest: str
    #: Of the first architecture that it has.
    labels: Dict[str, str]
    #: Bytes of the layers of that architecture, as they travel.
    size: int
    platforms: List[str]


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def access(info: Mapping[str, Any], libpod: Mapping[str, Any]) -> Access:
    """Read it from what an engine says of itself; *libpod*: what Podman adds."""
    known = ((info.get("RegistryConfig") or {}).get("IndexConfigs") or {}).items()
    insecure = [name for name, item in known if (item or {}).get("Secure") is False]
    for name, item in (libpod.get("registries") or {}).items():
        if isinstance(item, dict) and item.get("Insecure"):
            insecure.append(name)
    proxies = {"http": info.get("HttpProxy"), "https": info.get("HttpsProxy"), "no": info.get("NoProxy")}
    return Access(tuple(sorted(insecure)), {key: str(value) for key, value in proxies.items() if value})


class Client:
    """What asks registries, with the logins that were given and those that the host has.

    writes: whether it sets tags as well. Its logins are then those of who builds images.
    """

    def __init__(
        self, runner: Runner, logins: Sequence[Login] = (), how: Access = _PLAIN, writes: bool = False
    ) -> None:
        self._runner = runner
        self._how = how
        self._writes = writes
        self._variable = "tamma_images_registry_logins" if writes else "tamma_stack_registry_logins"
        # How each registry answers: its scheme.
        self._schemes: Dict[str, str] = {}
        home = os.environ.get("HOME", "/root")
        try:
            existing = json.loads(read(os.path.join(home, ".docker", "config.json")) or "{}")
        except ValueError:
            existing = {}
        self._config = client_config(list(logins), existing)
        self._tokens: Dict[Tuple[str, str], str] = {}
        self._openers: Dict[str, urllib.request.OpenerDirector] = {}

    def manifest(self, repository: str, reference: str) -> Optional[Manifest]:
        """The manifest behind a tag or a digest; None if there is none."""
        answer = self._get(repository, "manifests/" + reference, ", ".join([*INDEXES, *MANIFESTS]))
        if answer is None:
            return None
        found = Manifest(answer.body, answer.headers.get("content-type", "").partition(";")[0])
        if reference.startswith("sha256:") and found.digest != reference:
            raise OperatorError(
                "The registry answers for %s@%s with something that has another digest: it was altered there, or on "
                "the way." % (repository, reference)
            )
        return found

    def blob(self, repository: str, digest: str) -> Optional[bytes]:
        """A small blob; None if there is none."""
        answer = self._get(repository, "blobs/" + digest, "*/*")
        if answer is None:
            return None
        if digest_of(answer.body) != digest:
            raise OperatorError(
                "The registry answers for the blob %s of %s with something that has another digest."
                % (digest, repository)
            )
        return answer.body

    def served(self, repository: str, tag: str) -> Optional[Served]:
        """The image behind a tag; None if there is none."""
        top = self.manifest(repository, tag)
        if top is None:
            return None
        manifest, platforms = top.parsed, []
        if top.media_type in INDEXES:
            # An attestation stands in an index like an image, for an architecture that nobody has.
            real = [item for item in children(top) if (item.get("platform") or {}).get("os") != "unknown"]
            platforms = ["%(os)s/%(architecture)s" % item["platform"] for item in real if "platform" in item]
            inner = self.manifest(repository, real[0]["digest"]) if real else None
            if inner is None:
                return Served(top.digest, {}, 0, platforms)
            manifest = inner.parsed
        config = self.blob(repository, str((manifest.get("config") or {}).get("digest", "")))
        described = json.loads(config) if config else {}
        if not platforms and described.get("os"):
            platforms = ["%s/%s" % (described["os"], described.get("architecture"))]
        labels = (described.get("config") or {}).get("Labels") or {}
        return Served(top.digest, labels, sum(layer["size"] for layer in manifest.get("layers") or []), platforms)

    def tag(self, repository: str, digest: str, tag: str) -> None:
        """Let a tag mean an image that is there."""
        found = self.manifest(repository, digest)
        if found is None:
            raise OperatorError("%s has no %s any more." % (repository, digest))
        done = self._request(
            repository, "PUT", _place(repository, "manifests/" + tag), {"Content-Type": found.media_type}, found.content
        )
        if done.status not in (200, 201, 202):
            raise OperatorError("%s gets no tag %s: %s." % (repository, tag, _reason(done)))

    def check_push(self, repository: str) -> None:
        """Raise OperatorError unless an image could be pushed: an upload is begun, and ended without content."""
        begun = self._request(repository, "POST", _place(repository, "blobs/uploads/"), {}, b"")
        if begun.status != 202:
            why = "the login is refused" if begun.status in (401, 403) else _reason(begun)
            raise OperatorError(
                "Nobody can push %s with this login: %s. See %s. Nothing was changed."
                % (repository, why, self._variable)
            )
        registry = repository.partition("/")[0]
        base = "%s://%s" % (self._schemes[registry], _server(registry))
        place = urljoin(base, begun.headers.get("location", ""))
        if place.startswith(base + "/"):
            self._request(repository, "DELETE", place[len(base) :], {})

    def plain_http(self, registry: str) -> bool:
        """Whether a registry answers without TLS, as far as it was asked."""
        return self._schemes.get(registry) == "http"

    def download(self, repository: str, digest: str, handle: IO[bytes]) -> None:
        """Write a blob of any size to a file. Raises OperatorError when there is none with this digest."""
        if self._get(repository, "blobs/" + digest, "*/*", handle) is None:
            raise OperatorError("The registry lacks a part of %s (%s): push it again." % (repository, digest))

    def _get(self, repository: str, what: str, accept: str, handle: Optional[IO[bytes]] = None) -> Optional[Answer]:
        answer = self._request(repository, "GET", _place(repository, what), {"Accept": accept}, None, handle)
        # GitHub's registry refuses a package that is not there yet.
        missing = self._writes and answer.status in (401, 403) and b"DENIED" in answer.body.upper()
        if answer.status == 404 or missing:
            return None
        if answer.status != 200:
            raise OperatorError(
                "The registry %s refused %s (%d): name an account that may read it in %s, or look at the registry."
                % (repository.partition("/")[0], repository, answer.status, self._variable)
            )
        return answer

    def _request(
        self,
        repository: str,
        method: str,
        place: str,
        headers: Dict[str, str],
        body: Optional[bytes] = None,
        handle: Optional[IO[bytes]] = None,
    ) -> Answer:
        registry, _slash, name = repository.partition("/")
        problem = ""
        schemes = ("https", "http") if self._is_insecure(registry) else ("https",)
        for scheme in (self._schemes[registry],) if registry in self._schemes else schemes:
            url = "%s://%s%s" % (scheme, _server(registry), place)
            try:
                answer = self._ask(registry, name, method, url, headers, body, handle)
            except (OSError, http.client.HTTPException) as exc:
                problem = str(getattr(exc, "reason", "") or exc)
                continue
            self._schemes[registry] = scheme
            return answer
        raise OperatorError(
            "The registry %s cannot be asked about %s (%s): check its name, name resolution, the firewall and its "
            "certificate." % (registry, repository, problem.rstrip("."))
        )

    def _is_insecure(self, registry: str) -> bool:
        host = registry.partition(":")[0]
        return (
            registry in self._how.insecure or host == "localhost" or host.startswith("127.") or registry[:5] == "[::1]"
        )

    def _ask(
        self,
        registry: str,
        name: str,
        method: str,
        url: str,
        headers: Dict[str, str],
        body: Optional[bytes],
        handle: Optional[IO[bytes]],
    ) -> Answer:
        answer = self._open(registry, method, url, headers, self._tokens.get((registry, name)), body, handle)
        challenge = answer.headers.get("www-authenticate", "")
        # A token may have ended meanwhile: a build takes longer than it lasts.
        if answer.status == 401 and challenge:
            token = self._authorize(registry, name, challenge)
            if token:
                self._tokens[(registry, name)] = token
                answer = self._open(registry, method, url, headers, token, body, handle)
        return answer

    def _authorize(self, registry: str, name: str, challenge: str) -> str:
        """The header with which a registry lets us in."""
        kind, _space, rest = challenge.partition(" ")
        login = self._login(registry)
        if kind.lower() == "basic":
            return "Basic " + login if login else ""
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if kind.lower() != "bearer" or "realm" not in said:
            return ""
        right = "pull,push" if self._writes else "pull"
        query = {
            "scope": "repository:%s:%s" % (name, right),
            **({"service": said["service"]} if "service" in said else {}),
        }
        url = said["realm"] + ("&" if "?" in said["realm"] else "?") + urlencode(query)
        if login and url.startswith("http:") and not self._is_insecure(registry):
            raise OperatorError("The registry %s wants its login without TLS, which is refused." % registry)
        answer = self._open(registry, "GET", url, {}, "Basic " + login if login else "")
        if answer.status != 200:
            return ""
        try:
            found = json.loads(answer.body)
            return "Bearer %s" % (found.get("token") or found["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return ""

    def _open(
        self,
        registry: str,
        method: str,
        url: str,
        headers: Dict[str, str],
        authorization: Optional[str],
        body: Optional[bytes] = None,
        handle: Optional[IO[bytes]] = None,
    ) -> Answer:
        if not url.startswith(("https://", "http://")):
            raise OperatorError("The registry %s names %s, which is no address of a registry." % (registry, url))
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - the schemes are those above
        if authorization:
            # What a redirect leads to, elsewhere, must not have it.
            request.add_unredirected_header("Authorization", authorization)
        try:
            response = self._opener(registry, request.host).open(request, timeout=_SECONDS)
        except urllib.error.HTTPError as exc:
            response, handle = exc, None
        with response:
            content = _copied(response, handle, url) if handle is not None else response.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise OperatorError("The registry %s answers with more than belongs to a manifest." % registry)
            return Answer(response.status, {key.lower(): text for key, text in response.headers.items()}, content)

    def _opener(self, registry: str, host: str) -> urllib.request.OpenerDirector:
        if host in self._openers:
            return self._openers[host]
        context = ssl.create_default_context()
        for directory in _CERTIFICATES:
            for path in sorted(glob.glob(os.path.join(directory, registry, "*.crt"))):
                context.load_verify_locations(path)
        if self._is_insecure(registry):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        proxies = {key: value for key, value in self._how.proxies.items() if key != "no"}
        if urllib.request.proxy_bypass_environment(host, {"no": self._how.proxies.get("no", "")}):  # type: ignore[attr-defined]
            proxies = {}
        self._openers[host] = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
        )
        return self._openers[host]

    def _login(self, registry: str) -> str:
        """The login for a registry in the form in which it travels; empty if there is none."""
        name = _HUB_LOGIN if registry == HUB else registry
        known = (self._config.get("auths") or {}).get(name) or {}
        if known.get("auth") and known.get("identitytoken"):
            user = base64.b64decode(known["auth"]).partition(b":")[0]
            return base64.b64encode(user + b":" + str(known["identitytoken"]).encode("utf-8")).decode("ascii")
        if known.get("auth"):
            return str(known["auth"])
        helper = (self._config.get("credHelpers") or {}).get(name)
        if not helper:
            return ""
        done = self._runner.run(["docker-credential-" + str(helper), "get"], stdin=name, timeout=_SECONDS)
        try:
            found = json.loads(done.out)
            pair = "%s:%s" % (found["Username"], found["Secret"])
        except (ValueError, KeyError, TypeError):
            return ""
        return base64.b64encode(pair.encode("utf-8")).decode("ascii")


def _copied(response: Any, handle: IO[bytes], url: str) -> bytes:
    """Write what comes into a file, and compare it with the digest at the end of the address."""
    found = hashlib.sha256()
    handle.seek(0)
    handle.truncate()
    for piece in iter(lambda: response.read(1 << 20), b""):
        found.update(piece)
        handle.write(piece)
    wanted = url.rpartition("/")[2]
    if "sha256:" + found.hexdigest() != wanted:
        raise OperatorError("What came as %s has another digest: try again, or push it again." % wanted)
    return b""


def children(manifest: Manifest) -> List[Dict[str, Any]]:
    """What an index lists; nothing for a manifest."""
    return [item for item in manifest.parsed.get("manifests") or [] if isinstance(item, dict)]


def _server(registry: str) -> str:
    return _HUB_API if registry == HUB else registry


def _place(repository: str, what: str) -> str:
    return "/v2/%s/%s" % (quote(repository.partition("/")[2]), quote(what, safe="/:"))


def _reason(answer: Answer) -> str:
    try:
        found = json.loads(answer.body)["errors"][0]
        return str(found.get("message") or found["code"]).rstrip(".")
    except (ValueError, KeyError, IndexError, TypeError):
        return "it answers %d" % answer.status
