"""Where the bench keeps things, and what it calls what it makes."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE_SOURCES = REPOSITORY / "tests" / "images"

#: Belongs to the machine, not to a checkout: the engine outlives a `git clean`.
ENGINE_DIR = Path("/var/lib/tamma-bench")

#: On everything that the bench makes inside the engine.
LABEL = "tamma.bench"
SANDBOX_LABEL = "tamma.bench.sandbox"
HOST_LABEL = "tamma.bench.host"
PUBLISHED_LABEL = "tamma.bench.published"
#: With which container engine a host came.
ENGINE_LABEL = "tamma.bench.engine"

NETWORK = "tamma-bench"
REGISTRY_CONTAINER = "tamma-bench-registry"
REGISTRY_VOLUME = "tamma-bench-registry"
#: What the sandbox hosts call the registry (plain HTTP).
REGISTRY_ADDRESS = "registry.bench:5000"

#: Inside a container these would lie on overlay, where an engine cannot make overlays again.
ENGINE_VOLUMES = ("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers")

DEFAULT_SANDBOX = "demo"
#: Dashboard, the APIs, the ELSA designer and the RabbitMQ pages, on the stack's default ports.
PUBLISHED_PORTS = (3000, 3001, 3100, 5000, 15672)


def cache_dir() -> Path:
    """Return the directory of this checkout's keys, made when it is missing."""
    override = os.environ.get("TAMMA_BENCH_CACHE")
    path = Path(override).resolve() if override else REPOSITORY / ".cache" / "bench"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def host_name(number: int) -> str:
    """Return the inventory name of a sandbox's host: tamma1, tamma2..."""
    return f"tamma{number}"


def domain_name(sandbox: str, host: str) -> str:
    """Return the name under which the sandbox's hosts find one of them in their DNS."""
    return f"{host}.{sandbox}.bench"


def container_name(sandbox: str, host: str) -> str:
    """Return the name of the container that plays a sandbox's host."""
    return f"tamma-bench-{sandbox}-{host}"
