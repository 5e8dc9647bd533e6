"""Lengths of time as people write them: "7d", "1h30m", "500ms", or a number of milliseconds. One parser for the command
line, the control surface, files and fixtures.
"""

from __future__ import annotations

import re
from typing import Final

UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
MOST_MS: Final = 1000 * 365 * UNITS_MS["d"]
_PART: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|[smhdw])", re.ASCII)


def parse_ms(length: str | float) -> int:
    """Milliseconds (>= 0) of a text such as "1h30m" or "0.5s", or of a number, which is milliseconds already.

    Raises ValueError with a sentence for the user.
    """
    if isinstance(length, bool) or not isinstance(length, str | int | float):
        raise ValueError(f"{length!r} is no length of time; {_HINT}")
    if isinstance(length, str):
        text = length.strip().lower()
        parts = _PART.findall(text)
        if re.fullmatch(r"\d{1,15}", text, re.ASCII):
            total = float(text)
        elif parts and "".join(number + unit for number, unit in parts) == text.replace(" ", ""):
            total = sum(float(number) * UNITS_MS[unit] for number, unit in parts)
        else:
            raise ValueError(f"{length!r} is no length of time; {_HINT}")
    else:
        total = float(length)
    if not 0 <= total <= MOST_MS:
        raise ValueError(f"{length!r} is no length of time between 0 and 1000 years; {_HINT}")
    return round(total)


_HINT: Final = 'give one as "7d", "1h30m" or "500ms", or a number of milliseconds'
