"""Modules of the stand-in that need nothing but Python: how it reads what the Compose files tell it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from tests.bench.names import IMAGE_SOURCES


def load(name: str) -> ModuleType:
    """Import one of them from its source, which is no package of the tests."""
    if "standin" not in sys.modules:
        folder = IMAGE_SOURCES / "tamma" / "standin"
        spec = importlib.util.spec_from_file_location(
            "standin", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec
        sys.modules["standin"] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"standin.{name}")
