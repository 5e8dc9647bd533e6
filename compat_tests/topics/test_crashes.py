"""kill -9 at random points of creating, growing and deleting topics under load: never half a topic."""

from collections.abc import Callable
from pathlib import Path

import pytest

from compat_tests.harness import JUDGED_BY_KAFKA, make_broker
from compat_tests.topics.changes import Changes

SETTINGS = {"log.segment.delete.delay.ms": "100", "offsets.topic.num.partitions": "3"}


@pytest.mark.skipif(JUDGED_BY_KAFKA, reason="it looks at Ottla's files")
@pytest.mark.parametrize(
    ("kills", "seed"),
    [pytest.param(5, 20_261_123, id="5"), pytest.param(50, 8, id="50", marks=pytest.mark.long)],
)
def test_never_half_a_topic(
    kills: int, seed: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with make_broker(tmp_path, settings=SETTINGS) as broker:
        changes = Changes(broker, seed)
        for number in range(kills):
            changes.round(number)
            changes.check()
        changes.finish()
        assert "set aside" not in broker.log
        assert changes.written
        for what in ("written", "carried_out", "undone", "answered"):
            record_property(what, getattr(changes, what))
        print(f"\n  at the kill: {changes.carried_out} carried out, {changes.undone} not, {changes.answered} answered")
