"""What images of Tamma are built on, as far as it can be made here: Node as in its official image, on our Debian."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import platform
import tarfile
import urllib.request

from . import images, machine
from .command import BenchError, one_at_a_time

NPM = "https://registry.npmjs.org"
#: The packages that have the programs of node:22.23.3.
NODE, MANAGER = "22.23.3", "10.9.9"
CPUS = {"x86_64": "x64", "aarch64": "arm64"}
DOCKERFILE = """ARG PARENT
FROM ${PARENT}
RUN apt-get update -qq \\
 && apt-get install -y -qq --no-install-recommends ca-certificates \\
 && rm -rf /var/lib/apt/lists/*
COPY certificates/ /usr/local/share/ca-certificates/
RUN update-ca-certificates
COPY node /usr/local/bin/node
ADD npm.tgz /usr/local/lib/node_modules/
RUN mv /usr/local/lib/node_modules/package /usr/local/lib/node_modules/npm \\
 && ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
"""


def node() -> str:
    """Return the image with Node 22, made when it is missing."""
    with one_at_a_time():
        images.build(["debian-13"])
        parent = images.tag("debian-13")
        context: images.Context = {"Dockerfile": (DOCKERFILE.encode(), 0o644), "certificates/.keep": (b"", 0o644)}
        for certificate in machine.certificates():
            context[f"certificates/{certificate.name}"] = certificate.read_bytes(), 0o644
        name = f"tamma-bench/node:{images.context_hash(context, parent, NODE, MANAGER)}"
        if name not in images.present():
            with tarfile.open(fileobj=io.BytesIO(_package(f"node-linux-{CPUS[platform.machine()]}", NODE))) as archive:
                program = archive.extractfile("package/bin/node")
                assert program is not None
                context["node"] = program.read(), 0o755
            context["npm.tgz"] = _package("npm", MANAGER), 0o644
            images.docker_build(name, context, ["--build-arg", f"PARENT={parent}"])
    return name


def nginx() -> str:
    """Return the image that does what the official nginx image does."""
    with one_at_a_time():
        images.build(["tamma-dashboard"])
    return images.tag("tamma-dashboard")


def _package(name: str, version: str) -> bytes:
    with urllib.request.urlopen(f"{NPM}/{name}/{version}", timeout=60) as response:
        described = json.load(response)["dist"]
    with urllib.request.urlopen(described["tarball"], timeout=300) as response:
        content: bytes = response.read()
    kind, _, wanted = described["integrity"].partition("-")
    if base64.b64encode(hashlib.new(kind, content).digest()).decode() != wanted:
        raise BenchError(f"The npm package {name}@{version} is not what the registry says.")
    return content
