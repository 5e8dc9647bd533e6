"""Asks Apache Kafka: `python -m compat_tests.admin.record [CLIENT ...]` writes its answers to data/.

OTTLA_COMPAT_KAFKA names the folder with start.sh, KAFKA_VERSION the release for it: what is stored is 4.4.0's. With
--ottla Ottla is asked and nothing is written: what differs is printed, explained or not.
"""

import json
import sys
import tempfile
from pathlib import Path

from compat_tests.admin.telling import CLIENTS, KAFKAS_OWN, SETTINGS, differing, load, stored, tell
from compat_tests.harness import ApacheKafka, Broker


def main(arguments: list[str]) -> None:
    """Tells the stories of the clients named, or of all."""
    ours = "--ottla" in arguments
    for client in [word for word in arguments if not word.startswith("--")] or CLIENTS:
        with tempfile.TemporaryDirectory() as folder, _make(ours, Path(folder)) as broker:
            told = tell(client, broker.bootstrap)
        answers = {step.name: step.answer for step in told.steps}
        assert len(answers) == len(told.steps), "two steps of one name"
        if not ours:
            stored(client).write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n")
            continue
        theirs = load(client)
        for name, answer in answers.items():
            for path, (want, got) in differing(theirs.get(name), answer).items():
                print(f"{client} | {name} | {path}\n    Kafka {want!r}\n    Ottla {got!r}")


def _make(ours: bool, folder: Path) -> Broker:
    return Broker(folder, settings=SETTINGS | KAFKAS_OWN) if ours else ApacheKafka(folder, settings=SETTINGS)


if __name__ == "__main__":
    main(sys.argv[1:])
