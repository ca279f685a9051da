"""`conclusion.json`: what a comparison concludes, for programs, the index and what cleans up."""

import json
from pathlib import Path
from typing import Any

CONCLUSION = "conclusion.json"


def read_conclusion(comparison: Path) -> dict[str, Any] | None:
    """What `write` has put there; None if that is absent, damaged or of an earlier release."""
    try:
        content = json.loads((comparison / CONCLUSION).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_sound = (
        isinstance(content, dict)
        and isinstance(content.get("verdict"), str)
        and isinstance(content.get("chosen"), list)
    )
    return content if is_sound else None
