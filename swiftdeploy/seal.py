"""The one text of a JSON object, and the seal over it: who changes a figure later is found out. Standard library only.

A seal is no signature: it tells damage and a careless hand, not an attacker, who would seal again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(plain: Mapping[str, Any]) -> str:
    """The text: sorted keys, two spaces, no NaN or infinity, one newline at the end. Raises ValueError for a NaN."""
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def sealed(plain: Mapping[str, Any]) -> str:
    """The text with `seal` in it: the sha256 of the text in which `seal` is empty.

    An object that was read is as it was written if this gives the very text that it was read from.
    """
    digest = hashlib.sha256(canonical({**plain, "seal": ""}).encode()).hexdigest()
    return canonical({**plain, "seal": digest})
