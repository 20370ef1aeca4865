# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a registry what is behind a name, without pulling it: manifests, and the small blobs of signatures.

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
from urllib.parse import quote, urlencode

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
    """What asks registries, with the logins that were given and those that the host has."""

    def __init__(self, runner: Runner, logins: Sequence[Login] = (), how: Access = _PLAIN) -> None:
        self._runner = runner
        self._how = how
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
        content, media_type = answer
        found = Manifest(content, media_type)
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
        if digest_of(answer[0]) != digest:
            raise OperatorError(
                "The registry answers for the blob %s of %s with something that has another digest."
                % (digest, repository)
            )
        return answer[0]

    def download(self, repository: str, digest: str, handle: IO[bytes]) -> None:
        """Write a blob of any size to a file. Raises OperatorError when there is none with this digest."""
        if self._get(repository, "blobs/" + digest, "*/*", handle) is None:
            raise OperatorError("The registry lacks a part of %s (%s): push it again." % (repository, digest))

    def _get(
        self, repository: str, what: str, accept: str, handle: Optional[IO[bytes]] = None
    ) -> Optional[Tuple[bytes, str]]:
        registry, _slash, name = repository.partition("/")
        host = _HUB_API if registry == HUB else registry
        path = "/v2/%s/%s" % (quote(name), quote(what, safe="/:"))
        problem = ""
        for scheme in ("https", "http") if self._is_insecure(registry) else ("https",):
            url = "%s://%s%s" % (scheme, host, path)
            try:
                return self._ask(registry, name, url, accept, handle)
            except urllib.error.HTTPError as exc:
                if exc.code == 404:
                    return None
                raise OperatorError(
                    "The registry %s refused %s (%d): name an account that may read it in tamma_stack_registry_logins, "
                    "or look at the registry." % (registry, repository, exc.code)
                ) from exc
            except (OSError, http.client.HTTPException) as exc:
                problem = str(getattr(exc, "reason", "") or exc)
        raise OperatorError(
            "The registry %s cannot be asked about %s (%s): check its name, name resolution, the firewall and its "
            "certificate." % (registry, repository, problem.rstrip("."))
        )

    def _is_insecure(self, registry: str) -> bool:
        host = registry.partition(":")[0]
        return registry in self._how.insecure or host == "localhost" or host.startswith("127.")

    def _ask(self, registry: str, name: str, url: str, accept: str, handle: Optional[IO[bytes]]) -> Tuple[bytes, str]:
        headers = {"Accept": accept}
        token = self._tokens.get((registry, name))
        try:
            return self._open(registry, url, headers, token, handle)
        except urllib.error.HTTPError as exc:
            challenge = exc.headers.get("WWW-Authenticate", "")
            if exc.code != 401 or not challenge or token:
                raise
            token = self._authorize(registry, name, challenge)
            if not token:
                raise
        self._tokens[(registry, name)] = token
        return self._open(registry, url, headers, token, handle)

    def _authorize(self, registry: str, name: str, challenge: str) -> str:
        """The header with which a registry lets us in."""
        kind, _space, rest = challenge.partition(" ")
        login = self._login(registry)
        if kind.lower() == "basic":
            return "Basic " + login if login else ""
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if kind.lower() != "bearer" or "realm" not in said:
            return ""
        query = {"scope": "repository:%s:pull" % name, **({"service": said["service"]} if "service" in said else {})}
        url = said["realm"] + ("&" if "?" in said["realm"] else "?") + urlencode(query)
        if login and url.startswith("http:") and not self._is_insecure(registry):
            raise OperatorError("The registry %s wants its login without TLS, which is refused." % registry)
        content, _type = self._open(registry, url, {}, "Basic " + login if login else "")
        found = json.loads(content)
        return "Bearer %s" % (found.get("token") or found.get("access_token") or "")

    def _open(
        self,
        registry: str,
        url: str,
        headers: Dict[str, str],
        authorization: Optional[str],
        handle: Optional[IO[bytes]] = None,
    ) -> Tuple[bytes, str]:
        if not url.startswith(("https://", "http://")):
            raise OperatorError("The registry %s names %s, which is no address of a registry." % (registry, url))
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the schemes are those above
        if authorization:
            # What a redirect leads to, elsewhere, must not have it.
            request.add_unredirected_header("Authorization", authorization)
        with self._opener(registry, request.host).open(request, timeout=_SECONDS) as response:
            if handle is not None:
                return _copied(response, handle, url), ""
            content = response.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise OperatorError("The registry %s answers with more than belongs to a signature." % registry)
            return content, str(response.headers.get("Content-Type", "")).partition(";")[0]

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
