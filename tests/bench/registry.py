"""The registry that the sandbox hosts pull the stack's images from."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request

from . import images, machine
from .command import docker
from .names import LABEL, NETWORK, REGISTRY_ADDRESS, REGISTRY_CONTAINER, REGISTRY_VOLUME
from .patience import wait_until

SECONDS_TO_ANSWER = 30
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def ensure_network() -> None:
    """Make the bridge network that the hosts and the registry share."""
    if not docker("network", "ls", "-q", "--filter", f"name=^{NETWORK}$"):
        mtu = f"com.docker.network.driver.mtu={machine.mtu()}"
        docker("network", "create", "--label", f"{LABEL}=network", "--opt", mtu, NETWORK)


def ensure() -> None:
    """Make sure that the registry of the current image runs and answers."""
    ensure_network()
    image = images.tag("registry")
    state = docker("ps", "-a", "--filter", f"name=^{REGISTRY_CONTAINER}$", "--format", "{{.Image}} {{.State}}")
    if state != f"{image} running":
        docker("rm", "-f", REGISTRY_CONTAINER, check=False)
        docker("volume", "create", "--label", f"{LABEL}=registry", REGISTRY_VOLUME)
        docker(
            "run", "-d", "--name", REGISTRY_CONTAINER, "--label", f"{LABEL}=registry",
            "--restart", "unless-stopped", "--network", NETWORK,
            "--network-alias", REGISTRY_ADDRESS.split(":")[0], "-p", "127.0.0.1::5000",
            "-v", f"{REGISTRY_VOLUME}:/var/lib/registry", image,
        )  # fmt: skip
    wait_until(_answers, SECONDS_TO_ANSWER, "the registry", lambda: f"See `docker logs {REGISTRY_CONTAINER}`.")


def address() -> str:
    """Return where this machine reaches the registry; engines take plain HTTP on loopback."""
    published = docker("port", REGISTRY_CONTAINER, "5000/tcp")
    return f"127.0.0.1:{published.splitlines()[0].rsplit(':', 1)[1]}"


def push(wanted: dict[str, str]) -> list[str]:
    """Serve images under names ("postgres:15" -> local image); return the names that changed."""
    here = address()
    listing = docker("image", "inspect", "-f", "{{.Id}}", *dict.fromkeys(wanted.values()))
    ids = dict(zip(dict.fromkeys(wanted.values()), listing.splitlines(), strict=True))
    changed = [name for name, image in wanted.items() if ids[image] not in _served(here, name)]
    for name in changed:
        docker("tag", wanted[name], f"{here}/{name}")
        docker("push", "--quiet", f"{here}/{name}")
        docker("rmi", "--no-prune", f"{here}/{name}")
    return changed


def remove() -> None:
    """Remove the registry, what it stores, and the network."""
    docker("rm", "-f", REGISTRY_CONTAINER, check=False)
    for kind in ("volume", "network"):
        made = docker(kind, "ls", "-q", "--filter", f"label={LABEL}").split()
        if made:
            docker(kind, "rm", *made)


def _answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://{address()}/v2/", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, IndexError):
        return False


def _served(here: str, name: str) -> set[str]:
    """Return the digests by which the registry serves a name: the manifest's, the config's."""
    repository, _, tag = name.rpartition(":")
    request = urllib.request.Request(f"http://{here}/v2/{repository}/manifests/{tag}")
    request.add_header("Accept", MANIFEST)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            digest = response.headers.get("Docker-Content-Digest", "")
            return {digest, json.load(response).get("config", {}).get("digest", "")}
    except urllib.error.HTTPError:
        return set()


def copy(source: str, target: str) -> str:
    """Serve an image under one more name ("tamma-api:0.2.0" as "signed/tamma-api:1"); return its digest."""
    (repository, _, tag), (new, _, new_tag) = source.rpartition(":"), target.rpartition(":")
    media_type, content = MANIFEST, _call("GET", f"{repository}/manifests/{tag}", accept=MANIFEST)
    manifest = json.loads(content)
    for blob in [manifest["config"], *manifest["layers"]]:
        _call("POST", f"{new}/blobs/uploads/?mount={blob['digest']}&from={repository}")
    _call("PUT", f"{new}/manifests/{new_tag}", content, media_type)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def move(repository: str, tag: str, target: str) -> None:
    """Let a tag stand for what another tag of its repository stands for, be that an image or its signatures."""
    wanted = f"{MANIFEST}, {OCI_MANIFEST}"
    content = _call("GET", f"{repository}/manifests/{target}", accept=wanted)
    _call("PUT", f"{repository}/manifests/{tag}", content, json.loads(content).get("mediaType", OCI_MANIFEST))


def _call(method: str, path: str, data: bytes | None = None, media_type: str = "", accept: str = "*/*") -> bytes:
    request = urllib.request.Request(f"http://{address()}/v2/{path}", data, method=method)
    request.add_header("Accept", accept)
    if media_type:
        request.add_header("Content-Type", media_type)
    with urllib.request.urlopen(request, timeout=30) as response:
        content: bytes = response.read()
        return content
