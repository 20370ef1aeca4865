# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows rows as a table on the operator's terminal, whatever callback plugin is in use."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()


def table(columns: list[str], rows: list[dict[str, Any]]) -> list[str]:
    """Lay out rows below their column names; a missing cell stays empty."""
    cells = [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max([len(column), *(len(line[number]) for line in cells)]) for number, column in enumerate(columns)]
    lines = [[column.upper() for column in columns], *cells]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


class ActionModule(ActionBase):
    """Implements M(meywd.tamma.tamma_report); it never leaves the controller."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "columns": {"type": "list", "elements": "str", "required": True},
                "rows": {"type": "list", "elements": "dict", "required": True},
                "lines": {"type": "list", "elements": "str", "default": []},
            }
        )
        lines = table(arguments["columns"], arguments["rows"]) if arguments["rows"] else []
        for line in [*lines, *arguments["lines"]]:
            display.display(line)
        return result
