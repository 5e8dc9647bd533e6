"""The command line: `python -m bench [SCENARIO ...]`, beside Apache Kafka and kfake where they can run."""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import growth, picture, profiling, report, runner
from bench.brokers import BrokerError, make, why_not
from bench.scenario import SIZES, Scenario
from bench.scenarios import SCENARIOS
from compat_tests.harness import ROOT

PAGE = ROOT / "docs" / "performance.md"
PICTURE = PAGE.with_name("growth.svg")
RESULTS = Path(__file__).parent / "results"
INTERRUPTED = 130  # the exit code of what Ctrl-C ended
DESCRIPTORS = 8192
ROUNDS, GROWTH_ROUNDS = 5, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 130 if interrupted; 2 with one sentence if the arguments or a broker are at fault."""
    _allow_connections()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no broker is left behind
    parser = _parser()
    flags = parser.parse_args(arguments)
    known = growth.SCENARIOS if flags.growth else SCENARIOS
    if flags.list:
        for scenario in known.values():
            print(f"{scenario.name:24} {scenario.what}")
        return 0
    unknown = [name for name in flags.scenarios if name not in known]
    if unknown:
        parser.error(f"no scenario {unknown[0]!r}; `python -m bench --list` names them all")
    if flags.rounds is not None and flags.rounds < 1:
        parser.error(f"--rounds {flags.rounds}: at least one is needed")
    if flags.folder is not None and not flags.folder.is_dir():
        parser.error(f"--folder {flags.folder} is no folder: make it, or leave the flag away")
    if flags.table is not None:
        return _print_table(parser, flags.table, flags.write_docs)
    if flags.write_docs:
        parser.error("--write-docs needs --table FILE: results that were looked at first")
    missing = profiling.why_not() if flags.profile else None
    if missing is not None:
        parser.error(missing)
    chosen = [
        scenario
        for scenario in known.values()
        if (scenario.name in flags.scenarios if flags.scenarios else scenario.quick or flags.growth or not flags.quick)
    ]
    try:
        return _measure(flags, chosen)
    except (BrokerError, PermissionError) as error:
        parser.error(str(error))


def _measure(flags: argparse.Namespace, scenarios: list[Scenario]) -> int:
    size = SIZES[flags.size or ("quick" if flags.quick else "normal")]
    rounds = flags.rounds or (GROWTH_ROUNDS if flags.growth else ROUNDS)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ottla-bench-", dir=flags.folder)))
        brokers = [make(spec, folder, stack) for spec in _wanted(flags)]
        names = [broker.name for broker in brokers]
        if len(set(names)) < len(names):
            raise BrokerError(
                f"--brokers {','.join(names)}: each may be there once; another revision is ottla@REVISION"
            )
        path = flags.out or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        results = runner.Results(path, size, brokers)
        profile = profiling.Profiler(path, size, print) if flags.profile else None
        code = 0
        try:
            runner.run(brokers, scenarios, size, rounds, results, runner.to_stderr, profile=profile)
        except KeyboardInterrupt:
            print("interrupted; this is what there is", file=sys.stderr)
            code = INTERRUPTED
    print(report.everything(results.document, list(SCENARIOS.values())))
    print(f"kept in {path}", file=sys.stderr)
    return code


def _allow_connections() -> None:
    """The scenarios have a thousand connections, more than most systems allow; brokers inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _wanted(flags: argparse.Namespace) -> list[str]:
    """The brokers to measure: those named, else what can run here; the quick run compares with the last commit."""
    if flags.brokers is not None:
        specs: list[str] = flags.brokers.split(",")
        return specs
    if flags.quick:
        return ["ottla", f"ottla@{flags.base}"]
    specs = ["ottla"]
    for kind in ("kafka",) if flags.growth else ("kafka", "kfake"):
        missing = why_not(kind)
        if missing is None:
            specs.append(kind)
        else:
            print(f"without {kind}: {missing}", file=sys.stderr)
    return specs


def _print_table(parser: argparse.ArgumentParser, paths: list[Path], write_docs: bool) -> int:
    scenarios = list(SCENARIOS.values())
    documents = []
    for path in paths:
        try:
            document = json.loads(path.read_text())
            report.everything(document, scenarios)
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"--table {path} is no file of results: {error!r}")
        documents.append(document)
    document = report.merged(documents)
    print(report.everything(document, scenarios))
    if write_docs:
        old = PAGE.read_text() if PAGE.exists() else ""
        PAGE.write_text(report.page(document, scenarios, PICTURE.name, old))
        charts = report.growth(document)
        if any(line.points for chart in charts for line in chart.lines):
            PICTURE.write_text(picture.draw(charts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="which (default: all); --list names them")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument(
        "--brokers",
        help="who takes part, with commas: ottla, ottla@REVISION, kafka, kfake, 'NAME=COMMAND {port} {dir}'",
    )
    parser.add_argument("--rounds", type=int, help=f"turns of each broker (default: {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="under two minutes: this tree beside the last commit")
    parser.add_argument("--base", default="HEAD", help="the revision that --quick compares with (default: HEAD)")
    parser.add_argument("--size", choices=SIZES, help="how much work a turn is")
    parser.add_argument("--profile", action="store_true", help="show where Ottla's time goes in each scenario (py-spy)")
    parser.add_argument(
        "--folder", type=Path, help="where the brokers' data goes (default: the system's temporary one)"
    )
    parser.add_argument("--out", type=Path, help="the file of results (default: bench/results/)")
    parser.add_argument("--growth", action="store_true", help="how cost grows with partitions, connections, the log")
    parser.add_argument(
        "--table", type=Path, nargs="+", metavar="FILE", help="print the table of such files together and end"
    )
    parser.add_argument("--write-docs", action="store_true", help="with --table: make docs/performance.md of it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
