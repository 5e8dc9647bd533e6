"""`python -m compat_tests.transactions.run_driver CLIENT --FLAG VALUE ...`: a Python client's driver as a process."""

import argparse
import dataclasses
import importlib
import json
import sys
import time
from typing import Any

from compat_tests.transactions.driver import DriverConfig, StepError, TransactionalDriver


def _obey(driver: TransactionalDriver, words: list[str]) -> Any:
    step, *rest = words
    if step == "send":
        return driver.send([(rest[at], int(rest[at + 1]), rest[at + 2]) for at in range(0, len(rest), 3)])
    if step == "take":
        return driver.take(int(rest[0]))
    if step == "read":
        topic, isolation, end, *partitions = rest
        return driver.read(topic, [int(one) for one in partitions], isolation, end)
    return getattr(driver, step)()


def _main() -> None:
    parser = argparse.ArgumentParser(description="the steps of a transaction")
    parser.add_argument("client")
    for field in dataclasses.fields(DriverConfig):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, default=field.default)
    flags = vars(parser.parse_args())
    module = importlib.import_module(f"compat_tests.{flags.pop('client')}.transactional")
    driver: TransactionalDriver = module.Driver(DriverConfig(**flags))
    for line in sys.stdin:
        try:
            event = ["done", _obey(driver, line.split())]
        except StepError as error:
            event = ["error", [error.name, error.abort, error.fatal]]
        print(json.dumps([time.monotonic(), *event]), flush=True)
    driver.close()


if __name__ == "__main__":
    _main()
