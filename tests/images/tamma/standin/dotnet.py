"""ASP.NET's configuration: appsettings files, then environment variables, names in any case."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import connection_string
from .process import DOTNET_ABORT, Refusal

APPLICATION = Path("/app")
ENVIRONMENT = os.environ.get("ASPNETCORE_ENVIRONMENT") or "Production"


class Configuration:
    """Looks a value up by its path, such as "Elsa:ApiKey"."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        for name in ("appsettings.json", f"appsettings.{ENVIRONMENT}.json"):
            path = APPLICATION / name
            if path.is_file():
                self._add(_read_json(path), "")
        for name, value in os.environ.items():
            self._values[name.replace("__", ":").lower()] = value

    def get(self, path: str, default: str = "") -> str:
        return self._values.get(path.lower()) or default

    def _add(self, tree: Any, prefix: str) -> None:
        if isinstance(tree, dict):
            for key, value in tree.items():
                self._add(value, f"{prefix}:{key}" if prefix else key)
        elif tree is not None:
            self._values[prefix.lower()] = str(tree)

    def database(self) -> dict[str, str]:
        """Return where the database is, or refuse to start as Npgsql would."""
        text = self.get("ConnectionStrings:DefaultConnection")
        try:
            return connection_string.npgsql(text)
        except ValueError as error:
            raise unhandled(f"System.ArgumentException: DefaultConnection: {error}") from None

    def port(self, default: int) -> int:
        first = self.get("ASPNETCORE_URLS", f"http://+:{default}").split(";")[0]
        return urlsplit(first.replace("+", "any").replace("*", "any")).port or 80


def unhandled(message: str) -> Refusal:
    return Refusal(f"Unhandled exception. {message}", DOTNET_ABORT)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise unhandled(f"System.IO.InvalidDataException: Failed to load {path}: {reason}") from None
