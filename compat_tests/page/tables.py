"""The page: what the tests said, as tables. Nothing here knows a time, so the same outcomes make the same page."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from compat_tests.java_tools.verbs import NOT_ASKED, RUNS, TOOLS
from compat_tests.page.checking import gaps
from compat_tests.page.facts import FOLDER, Differing, Facts
from compat_tests.page.names import CLIENTS, CONFIGS, SCENARIOS, SUITES, client_title, place
from compat_tests.page.told import MARKS, Line, Told, worst
from compat_tests.results import FAILED, LACKS, PASSED

INTRODUCTION = """\
<!-- written by `make compat-page` (python -m compat_tests.page) from what the tests said; CI checks it -->
# Compatibility

Every mark here is what a test said: `make test`, `make test-long` and `make compat` run real clients, Kafka's own tools
and generated requests against Ottla and write their outcomes down, and this page is made of those files and of nothing
else. CI makes it anew and fails if a word differs, a cell is red, or an announced API version has no test.

{total}

✓ the tests passed · ❌ a test failed · ? a test was not run · a letter: the library cannot do it, see below the table ·
an empty cell: there is no such test. What CI judges by is Apache Kafka 4.4.0.
"""
ABOUT_APIS = """\
Every API at every version that Ottla announces is asked {requests} generated requests in all (defaults, plausible
values, and for each field something odd). The answers are compared, field by field, with what Apache Kafka said when it
was asked (`compat_tests/differential/generated`), and `make test-long` asks it whether it still says so. Produce is
announced from version 0 and refused below 3, as in Kafka. Not served, and so not announced: {not_served}.
"""
ABOUT_DIFFERENCES = """\
Where an answer is another one, and why (`compat_tests/differences.toml`; the tests fail on any other, and on one that
is no longer so):
"""
ABOUT_CONFIGS = """\
Each config that acts has a test in which it makes a difference. The others are known, checked, kept and told, and have
no effect: [configs.md](configs.md) says why, and what each one does.
"""
_TELLING = re.compile(r"(?!\d+$)[\w .-]{1,20}")  # a case that says something by its name
_CASES = 6
_ROWS_OF_A_MODULE = 12  # a module with more tests than that is one row


def page(told: Told, facts: Facts) -> str:
    """All of it."""
    by_suite: dict[str, list[Line]] = defaultdict(list)
    for line in told.lines:
        if line.suite and not line.is_scenario and line.api is None:
            by_suite[line.suite].append(line)
    parts = [INTRODUCTION.format(total=_total(told, facts))]
    parts += [*_clients(told, facts), *_scenarios(told, facts), *_apis(told, facts)]
    parts += [*_tools(by_suite.pop("java_tools", [])), *_suites(by_suite), *_configs(told, facts)]
    return "\n".join(parts).rstrip() + "\n"


def _total(told: Told, facts: Facts) -> str:
    red, missing, silent = len(told.red()), len(told.missing()), gaps(told, facts)
    tests = sum(line.state != LACKS for line in told.lines)
    if not red and not missing and not silent:
        return f"{MARKS[PASSED]} **All cells are green.**"
    said = [f"{tests} tests", *([f"{red} failed"] if red else []), *([f"{missing} were not run"] if missing else [])]
    unfinished = f" The page is not whole: {' '.join(silent)}" if silent else ""
    return f"{MARKS[FAILED] if red else '?'} **{', '.join(said)}.**{unfinished}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return [*(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines), ""]


def words(line: Line) -> str:
    """A test's name as words."""
    return line.name.removeprefix("test_").replace("_", " ") or line.test


# ── clients and scenarios ───────────────────────────────────────────────────────────────────────────────────────────


def _columns(clients: Iterable[str]) -> list[str]:
    return sorted(set(clients), key=lambda client: place(dict(CLIENTS), client))


def _clients(told: Told, facts: Facts) -> list[str]:
    by_client = _by_client(told, facts)
    rows = []
    for client, lines in by_client.items():
        title, language = CLIENTS.get(client, (client, ""))
        version = next((line.version for line in lines if line.version), "?")
        makes = {f"`make {'compat' if line.make == 'compat' else 'test'}`" for line in lines}
        odd = f"[FINDINGS](../compat_tests/{client}/FINDINGS.md)"
        noted = odd if (FOLDER / client / "FINDINGS.md").exists() else ""
        state = worst(line for line in lines if line.state != LACKS)
        count = sum(line.state == PASSED for line in lines)
        shown = f"{MARKS[state] or '?'} {count} of {sum(line.state != LACKS for line in lines)}"
        rows.append((title, version, language, shown, ", ".join(sorted(makes)), noted))
    titles = ("library", "version", "language", "scenarios", "run by", "odd behaviour of its own")
    return ["## Clients\n", *_table(titles, rows)]


def _by_client(told: Told, facts: Facts) -> dict[str, list[Line]]:
    """Those that are expected have a column even if nothing was said of them."""
    found: dict[str, list[Line]] = {client: [] for client in facts.scenario_clients}
    for line in told.lines:
        if line.is_scenario:
            found.setdefault(line.client, []).append(line)
    return {client: found[client] for client in _columns(found)}


def _scenarios(told: Told, facts: Facts) -> list[str]:
    by_client = _by_client(told, facts)
    rows: dict[str, dict[tuple[str, str], dict[str, list[Line]]]] = defaultdict(lambda: defaultdict(dict))
    for client, lines in by_client.items():
        for line in lines:
            rows[line.home][line.name, line.case].setdefault(client, []).append(line)
    letters = {client: _letters(lines) for client, lines in by_client.items()}
    parts = ["## Scenarios\n", "One list for all clients: `compat_tests/scenarios/`.\n"]
    for home in sorted(rows, key=lambda home: place(dict(SCENARIOS), home.rpartition(".")[2])):
        module = home.rpartition(".")[2]
        shown = []
        for cells in _in_order(rows[home]):
            line = next(iter(cells.values()))[0]
            title = words(line) + (f": {line.case}" if line.case else "")
            shown.append((title, *(_scenario_mark(cells.get(client, []), letters[client]) for client in by_client)))
        titles = [SCENARIOS.get(module, module), *map(client_title, by_client)]
        parts += _table(titles, shown)
    reasons = [
        f"- {client_title(client)}: {'; '.join(f'{letter}) {reason}' for reason, letter in known.items())}"
        for client, known in letters.items()
        if known
    ]
    return [*parts, *(["What a library cannot do:\n", *reasons, ""] if reasons else [])]


def _in_order(rows: dict[tuple[str, str], dict[str, list[Line]]]) -> list[dict[str, list[Line]]]:
    """As the tests stand in their file."""

    def where(cells: dict[str, list[Line]]) -> tuple[int, str, str]:
        lines = [line for some in cells.values() for line in some]
        return max(line.at for line in lines), lines[0].name, lines[0].case

    return sorted(rows.values(), key=where)


def _letters(lines: list[Line]) -> dict[str, str]:
    """Reason -> letter, for what a client lacks."""
    reasons = dict.fromkeys(line.reason for line in lines if line.state == LACKS)
    return dict(zip(reasons, ascii_lowercase, strict=False))


def _scenario_mark(lines: list[Line], letters: dict[str, str]) -> str:
    state = worst(lines)
    return letters[lines[0].reason] if state == LACKS else MARKS[state] or "?"


# ── APIs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _apis(told: Told, facts: Facts) -> list[str]:
    cells: dict[tuple[str, int], list[Line]] = defaultdict(list)
    for line in told.lines:
        if line.api is not None:
            cells[line.api].append(line)
    rows = []
    for api in facts.served:
        by_mark: dict[str, list[int]] = defaultdict(list)
        for version in api.versions:
            by_mark[MARKS[worst(cells[api.name, version])] or "?"].append(version)
        asked = ", ".join(f"{_ranges(versions)} {mark}" for mark, versions in by_mark.items())
        numbers = [str(number) for number, each in enumerate(facts.differing, 1) if api.name in each.versions]
        requests = str(facts.requests[api.name])
        rows.append((f"{api.name} ({api.key})", _ranges(api.versions), asked, requests, ", ".join(numbers)))
    titles = ("API (key)", "served", "answers like Apache Kafka 4.4.0", "requests", "but for")
    requests = f"{sum(facts.requests.values()):,}"
    differing = [f"{number}. {each.reason}: {_where(each)}" for number, each in enumerate(facts.differing, 1)]
    return [
        "## APIs\n",
        ABOUT_APIS.format(requests=requests, not_served=", ".join(facts.not_served)),
        *_table(titles, rows),
        *([ABOUT_DIFFERENCES, *differing, ""] if differing else []),
    ]


def _where(differing: Differing) -> str:
    """APIs, versions, and how many requests of each, if it is more than one."""
    found = []
    for api, versions in differing.versions.items():
        cases = len(differing.cases[api])
        found.append(f"{api} {_ranges(versions)}" + (f" ({cases} requests)" if cases > 1 else ""))
    return ", ".join(found)


def _ranges(versions: Iterable[int]) -> str:
    """3-13, or 3-8, 10."""
    found: list[list[int]] = []
    for version in sorted(versions):
        if found and version == found[-1][-1] + 1:
            found[-1].append(version)
        else:
            found.append([version])
    return ", ".join(f"{some[0]}-{some[-1]}" if len(some) > 1 else str(some[0]) for some in found)


# ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tools(lines: list[Line]) -> list[str]:
    cells: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        for each in line.tools:
            cells[each].append(line)
    rows = []
    never: dict[str, list[str]] = defaultdict(list)
    for name, tool in TOOLS.items():
        asked = [verb for verb in tool.verbs if (name, verb) not in NOT_ASKED]
        reasons: dict[str, list[str]] = defaultdict(list)
        for verb in tool.verbs:
            if (name, verb) in NOT_ASKED:
                reasons[NOT_ASKED[name, verb]].append(f"`{verb}`")
        if asked:
            marks = ", ".join(_verb(verb) + (MARKS[worst(cells[name, verb])] or "?") for verb in asked)
            rows.append((tool.script, marks, "; ".join(f"{', '.join(some)}: {why}" for why, some in reasons.items())))
        else:
            never[next(iter(reasons))].append(tool.script)
    red = [f"`{line.test}`" for line in lines if line.state == FAILED]
    not_run = "; ".join(f"{', '.join(scripts)} ({reason})" for reason, scripts in never.items())
    return [
        "## Kafka's own tools\n",
        "What each is asked, and whether its user sees what Apache Kafka shows (`compat_tests/java_tools`).\n",
        *_table(("tool", "asked", "not asked, because"), rows),
        *([f"{MARKS[FAILED]} {', '.join(red)}\n"] if red else []),
        f"Not run: {not_run}.\n",
    ]


def _verb(verb: str) -> str:
    return "" if verb == RUNS else f"`{verb}` "


# ── the other suites ────────────────────────────────────────────────────────────────────────────────────────────────


def _suites(by_suite: dict[str, list[Line]]) -> list[str]:
    parts = ["## More stories\n"]
    for suite in sorted(by_suite, key=lambda suite: place(dict(SUITES), suite)):
        title, about = SUITES.get(suite, (f"{client_title(suite)}, its own", ""))
        parts += [f"### {title}\n", *([f"{about}\n"] if about else [])]
        rows = _rows(by_suite[suite])
        clients = _columns(line.client for line in by_suite[suite] if line.client)
        of_clients = [
            (_row_title(some), *(_mark([line for line in some if line.client == client]) for client in clients))
            for some in rows
            if some[0].client
        ]
        parts += _table(["", *map(client_title, clients)], of_clients) if of_clients else []
        others = [(_row_title(some), _mark(some)) for some in rows if not some[0].client]
        parts += _table(["", "outcome"], others) if others else []
    return parts


def _rows(lines: list[Line]) -> list[list[Line]]:
    """A row for each test function; for the module, where it has too many."""
    functions: dict[str, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        functions[line.home][line.name].append(line)
    rows = []
    for tests in functions.values():
        if len(tests) > _ROWS_OF_A_MODULE:
            rows.append([line for some in tests.values() for line in some])
        else:
            rows += tests.values()
    return rows


def _row_title(lines: list[Line]) -> str:
    names = dict.fromkeys(line.name for line in lines)
    if len(names) > 1:
        module = " ".join(lines[0].home.split(".")[1:]).replace("test_", "").replace("_", " ")
        return f"{module}: {len(names)} stories"
    cases = [*dict.fromkeys(line.case for line in lines if line.case)]
    if all(_TELLING.fullmatch(case) for case in cases) and len(cases) <= _CASES:
        return words(lines[0]) + (f" ({', '.join(cases)})" if cases else "")
    return f"{words(lines[0])} ({len(cases)} cases)"


def _mark(lines: list[Line]) -> str:
    """With what is not green, if it is not all."""
    state = worst(lines)
    odd = [line.case or words(line) for line in lines if line.state == state]
    if state == PASSED or len(odd) == len(lines):
        return MARKS[state]
    more = f" and {len(odd) - _CASES} more" if len(odd) > _CASES else ""
    return f"{MARKS[state]} {', '.join(odd[:_CASES])}{more}"


# ── configs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _configs(told: Told, facts: Facts) -> list[str]:
    cells: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in told.lines:
        for kind, name in line.configs:
            cells[kind, name].append(line)
    rows = []
    for kind in sorted(facts.acting, key=lambda kind: place(dict(CONFIGS), kind)):
        by_state: dict[str, list[str]] = defaultdict(list)
        for name in facts.acting[kind]:
            by_state[MARKS[worst(cells[kind, name])] or "?"].append(f"`{name}`")
        shown = " ".join(f"{mark} {', '.join(names)}" for mark, names in sorted(by_state.items(), reverse=True))
        rows.append((CONFIGS.get(kind, kind), shown, str(facts.idle[kind])))
    return [
        "## Configs\n",
        ABOUT_CONFIGS,
        *_table(("configs of", "act", "kept only"), rows),
    ]
