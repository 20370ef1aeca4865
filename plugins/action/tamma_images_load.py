# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a host what it lacks of an archive, piece by piece, and lets it load that."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.image_archive import Archive
from ansible_collections.meywd.tamma.plugins.module_utils.room import human
from ansible_collections.meywd.tamma.plugins.plugin_utils import release_images
from ansible_collections.meywd.tamma.plugins.plugin_utils.action import Action

display = Display()

#: A connection that breaks off loses one piece at most.
PIECE = 32 << 20


class _Failed(Exception):
    """A step on the host that failed, with its result."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result.get("msg", ""))
        self.result = result


class ActionModule(Action):
    """The controller's half of M(meywd.tamma.tamma_images_load)."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        wanted = release_images.images(arguments, self._find_needle)
        for name in release_images.OPTIONS:
            arguments.pop(name, None)
        try:
            archive = Archive(str(arguments.pop("archive")))
        except OperatorError as exc:
            return {**result, "failed": True, "msg": exc.message}
        host = str(task_vars.get("inventory_hostname", ""))
        common = {**arguments, "contents": archive.text, "images": wanted}
        try:
            result.update(self._bring(archive, common, host, task_vars))
        except _Failed as failed:
            result.update(failed.result)
        return result

    def _bring(self, archive: Archive, common: dict[str, Any], host: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        documents = {
            digest: base64.b64encode(archive.blob(digest)).decode("ascii") for digest in archive.contents.documents
        }
        looked = self._step({**common, "step": "look", "documents": documents}, task_vars)
        lacking = looked.get("lacking", [])
        if self._task.check_mode or not lacking:
            return {"changed": bool(lacking), "loaded": lacking, "sent": 0}
        sent = self._send(archive, looked["blobs"], common, host, task_vars)
        while True:
            loaded = self._step({**common, "step": "load"}, task_vars)
            asked = loaded.get("asked", [])
            if not asked:
                return {"changed": True, "loaded": loaded["loaded"], "sent": sent}
            # It has less than it told of.
            sent += self._send(archive, dict.fromkeys(asked, 0), common, host, task_vars)

    def _send(
        self, archive: Archive, blobs: dict[str, int], common: dict[str, Any], host: str, task_vars: dict[str, Any]
    ) -> int:
        sizes = archive.contents.blobs
        whole = sum(sizes[digest] - begun for digest, begun in blobs.items())
        sent = 0
        display.display("    %s | sending %s of images" % (host, human(whole)))
        for digest, begun in sorted(blobs.items()):
            begin = begun
            while begin < sizes[digest]:
                content = archive.piece(digest, begin, PIECE)
                self._send_piece(content, {**common, "step": "take", "blob": digest, "begin": begin}, task_vars)
                begin += len(content)
                sent += len(content)
                display.display("    %s | %s of %s are there" % (host, human(sent), human(whole)))
        return sent

    def _send_piece(self, content: bytes, arguments: dict[str, Any], task_vars: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / "piece"
            source.write_bytes(content)
            # Where the user of the connection may write; the module takes it from there.
            directory = self._make_tmp_path()
            try:
                target = self._connection._shell.join_path(directory, "piece")
                self._transfer_file(str(source), target)
                self._step({**arguments, "piece": target}, task_vars)
            finally:
                self._remove_tmp_path(directory)

    def _step(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        done = self.execute("tamma_images_load", arguments, task_vars)
        if done.get("failed"):
            raise _Failed(done)
        return done
