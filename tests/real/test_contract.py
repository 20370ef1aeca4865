"""The contract's cases of API and engine, tried on the images of the real ones."""

from __future__ import annotations

import os
import sys

from tests.tools.run import run

from . import images, source


def test_the_cases_hold_for_the_real_services(built: source.Built) -> None:
    made = images.build(built)
    env = {
        **os.environ,
        "CONTRACT_DRIVER": "container",
        "CONTRACT_TAMMA_API_IMAGE": made["tamma-api"],
        "CONTRACT_TAMMA_ENGINE_IMAGE": made["tamma-engine"],
    }
    run([sys.executable, "-m", "pytest", "tests/contract/test_tamma.py", "--quiet"], env=env, timeout=900, echo=True)
