# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes tammactl from the collection's own files, on the controller, and hands it to the module."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path
from typing import Any

from ansible_collections.meywd.tamma.plugins.module_utils.backup_setup import PYTHON
from ansible_collections.meywd.tamma.plugins.plugin_utils.action import Action

_COLLECTION = Path(__file__).resolve().parents[2]
_PACKAGE = "ansible_collections/meywd/tamma/plugins/module_utils"
# Neither PATH nor PYTHONPATH of whoever is root here chooses what runs.
_SHEBANG = b"#!%s -I\n" % PYTHON.encode("ascii")
# The same files make the same archive, byte for byte.
_MOMENT = (2026, 1, 1, 0, 0, 0)


def zipapp(collection: Path) -> bytes:
    """The operator's modules and their command line as one program."""
    buffer = io.BytesIO(_SHEBANG)
    buffer.seek(0, io.SEEK_END)
    contents = {"__main__.py": (collection / "roles/tamma_backup/files/tammactl/__main__.py").read_bytes()}
    for path in sorted((collection / "plugins" / "module_utils").glob("*.py")):
        contents[f"{_PACKAGE}/{path.name}"] = path.read_bytes()
    for depth in range(1, len(_PACKAGE.split("/")) + 1):
        contents.setdefault("/".join([*_PACKAGE.split("/")[:depth], "__init__.py"]), b"")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


class ActionModule(Action):
    """The controller's half of M(meywd.tamma.tamma_backup_setup)."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        completion = _COLLECTION / "roles/tamma_backup/files/tammactl/completion.bash"
        arguments = {
            **self._task.args,
            "tammactl": base64.b64encode(zipapp(_COLLECTION)).decode("ascii"),
            "completion": completion.read_text(encoding="utf-8"),
        }
        result.update(self.execute("tamma_backup_setup", arguments, task_vars))
        # A few hundred kilobytes that nobody reads.
        (result.get("invocation") or {}).get("module_args", {}).pop("tammactl", None)
        if not self._task.diff:
            result.pop("diff", None)
        return result
