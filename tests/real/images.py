"""Images of the built services, and their names in the bench's registry.

The .NET services come as stand-ins beside them: building those takes a .NET SDK and its package registry.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.bench import bases, images, registry, releases
from tests.bench.command import docker, one_at_a_time
from tests.bench.images import context_hash, docker_build
from tests.bench.names import LABEL, REPOSITORY
from tests.tools.run import run

from .source import Built

HERE = Path(__file__).parent
SERVICES = ("tamma-api", "tamma-engine", "tamma-dashboard")
STANDINS = ("tamma-elsa", "tamma-api-dotnet")
#: Whether everything is tried on images that the role makes, or on such as Tamma's own Dockerfiles make.
BY_ROLE = os.environ.get("TAMMA_DOCKERFILES", "") == "role"
#: For an update something has to be new: these releases differ by a label.
RELEASES = ("", "-again")
#: On top of the images of API and engine, as whoever runs an engine makes one: upstream's have neither.
AGENT = """FROM {image}
USER root
RUN apt-get update -qq \\
 && apt-get install -y -qq --no-install-recommends git openssh-client \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY claude /usr/local/bin/
USER tamma
"""


def build(built: Built) -> dict[str, str]:
    """Make the image of each service, as far as it is missing, and return them by service."""
    return by_role(built, agent="") if BY_ROLE else as_upstream(built)


def by_role(built: Built, agent: str) -> dict[str, str]:
    """Let the role make them, as an operator does who has no registry, with a version of the agent or without one."""
    variables = {
        "tamma_images_source": str(built.source),
        "tamma_images_registry": "tamma-bench",
        "tamma_images_names": SERVICES,
        "tamma_images_push": False,
        "tamma_images_node_image": bases.node(),
        "tamma_images_nginx_image": bases.nginx(),
        "tamma_images_claude_version": agent,
    }
    env = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")}
    run(["ansible-playbook", "meywd.tamma.images", "-e", json.dumps(variables)], env=env, timeout=900, echo=True)
    dirty = "-dirty" if built.commit.endswith("+") else ""
    return {name: f"tamma-bench/{name}:sha-{built.commit[:7]}{dirty}" for name in SERVICES}


def as_upstream(built: Built) -> dict[str, str]:
    """Make them as Tamma's own Dockerfiles do, of what source.py has built."""
    with one_at_a_time():
        images.build()
        found = {}
        for service in SERVICES:
            file = HERE / "Dockerfile"
            parents = {"PARENT": images.tag("debian-12"), "NGINX": images.tag("tamma-dashboard")}
            key = context_hash({"Dockerfile": (file.read_bytes(), 0)}, str(built.directory), *parents.values())
            found[service] = f"tamma-bench/real-{service}:{key}"
            if found[service] in images.present():
                continue
            arguments = [word for name, image in parents.items() for word in ("--build-arg", f"{name}={image}")]
            docker(
                "build", "--quiet", "--tag", found[service], "--label", f"{LABEL}=image", "--file", file,
                "--target", service, *arguments, built.directory,
            )  # fmt: skip
    return found


def serve(built: Built) -> list[str]:
    """Let the registry serve them as releases of Tamma; return the versions."""
    made = build(built)
    with one_at_a_time():
        releases.build()
        registry.ensure()
        served = {}
        for release in RELEASES:
            version = f"source-{built.name}{release}"
            for service, image in made.items():
                served[f"{service}:{version}"] = _release(service, image, version)
            for service in STANDINS:
                served[f"{service}:{version}"] = _release(
                    service, releases.served()[f"{service}:{releases.TODAY}"], version
                )
        registry.push(served)
    return [f"source-{built.name}{release}" for release in RELEASES]


def _release(service: str, image: str, version: str) -> str:
    """Make one image of one version: with an agent where one works."""
    lines = AGENT.format(image=image) if service in ("tamma-api", "tamma-engine") else f"FROM {image}\n"
    lines += f"LABEL org.opencontainers.image.version={version}\n"
    context = {"Dockerfile": (lines.encode(), 0o644), "claude": ((HERE / "claude").read_bytes(), 0o755)}
    name = f"tamma-bench/real-{service}-release:{context_hash(context)}"
    if name not in images.present():
        docker_build(name, context, [])
    return name
