"""The stack's Compose files by the names that they have on a host."""

from __future__ import annotations

from tests.tools.roles import ROOT

DIRECTORY = ROOT / "roles/tamma_stack/files/compose"


def texts() -> dict[str, str]:
    """Name → content. Files with Compose's own tags end in ``.tagged`` here: ansible-test takes those for mistakes."""
    paths = sorted(DIRECTORY.glob("docker-compose*"))
    return {path.name.removesuffix(".tagged"): path.read_text(encoding="utf-8") for path in paths}
