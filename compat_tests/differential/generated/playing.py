"""One cell, played on one broker: each request, and what came of it, in comparable form."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

from compat_tests.differential.generated.cases import Cell, build, cases
from compat_tests.differential.generated.line import Line, SilenceError
from compat_tests.differential.generated.scene import Scene, Stage, Topic, cell_name
from compat_tests.differential.generated.values import CHANGES_TOPIC

#: What came of a request, if no answer did.
CLOSED: Final = "closed"
SILENT: Final = "silent"
NOTHING: Final = "nothing"  # and the next request was answered
#: The key of an answer after which the connection was closed.
THEN: Final = "then"
#: How long silence lasts that was there before.
SILENCE_S: Final = 2.0


def play(stage: Stage, cell: Cell, expected: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """By case: the checksum of what was asked, as it is comparable, and the answer.

    `expected`: what was played before; where there was silence then it is not waited for long.
    """
    name = cell_name(cell.api, cell.version)
    namer = stage.namer(name)
    topics: dict[str, Topic] = {}
    played: dict[str, Any] = {}
    for number, case in enumerate(cases(cell)):
        scene = Scene(stage, name, number, topics, namer, changes_topic=cell.api in CHANGES_TOPIC)
        namer.case = number
        request, body = build(cell, case, scene)
        asked = json.dumps([namer.plain(request, cell.version), case.bytes_of])
        is_silence_expected = ((expected or {}).get(case.name) or {}).get("heard") == SILENT
        heard: Any
        with Line(stage.port, SILENCE_S if is_silence_expected else stage.patience_s) as line:
            try:
                answer, is_closed = line.play(cell.spec.key, cell.version, body)
            except SilenceError:
                heard = SILENT
            else:
                heard = (CLOSED if is_closed else NOTHING) if answer is None else namer.plain(answer, cell.version)
                if answer is not None and is_closed:
                    heard[THEN] = CLOSED
        assert case.name not in played, f"two cases of {cell} are named {case.name}"
        played[case.name] = {"asked": zlib.crc32(asked.encode()), "heard": heard}
    return played
