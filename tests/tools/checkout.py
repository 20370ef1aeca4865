"""Makes the checkout importable under the name that the collection has when it is installed.

The link in .collections has that name. The ``ansible`` package owns the top-level one, so the
checkout joins its path. Import this before anything of the collection.
"""

from __future__ import annotations

import ansible_collections
from tests.tools.roles import ROOT

_CHECKOUT = str(ROOT / ".collections" / "ansible_collections")
if _CHECKOUT not in ansible_collections.__path__:
    ansible_collections.__path__.append(_CHECKOUT)
