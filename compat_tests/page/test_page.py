"""The page says what results say: merging, red cells, what is missing, and a page that says something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compat_tests.java_tools.verbs import NOT_ASKED, RUNS, TOOLS
from compat_tests.page import __main__ as command
from compat_tests.page.checking import faults
from compat_tests.page.facts import Differing, Facts, Served, facts
from compat_tests.page.tables import page
from compat_tests.page.told import MARKS, read
from compat_tests.results import FAILED, LACKS, LEFT, PASSED, SKIPPED, SOAK

TREE = "the sources"
FACTS = Facts(
    served=[Served("Fetch", 1, range(4, 7))],
    not_served=["ShareFetch"],
    requests={"Fetch": 30},
    differing=[Differing("Kafka fails inside", {"Fetch": {5, 6}}, {"Fetch": {"defaults", "plausible"}})],
    acting={"topic": ["retention.ms"]},
    idle={"topic": 10},
    modules=["compat_tests/alpha/test_alpha.py", "compat_tests/kcat/test_kcat.py"],
    scenario_clients=["alpha", "beta"],
)


def scenario(client: str, name: str, outcome: str = PASSED, **more: Any) -> dict[str, Any]:
    where = {"suite": client, "home": "scenarios.producing", "at": 10, "client": client, "is_scenario": True}
    test = f"compat_tests/{client}/test_{client}.py::TestIt::test_{name}{more.get('case', '')}"
    return {"test": test, "name": f"test_{name}", "outcome": outcome, **where, **more}


def story(suite: str, name: str, outcome: str = PASSED, **more: Any) -> dict[str, Any]:
    test = f"compat_tests/{suite}/test_{suite}.py::test_{name}{more.get('client', '')}{more.get('case', '')}"
    where = {"suite": suite, "home": f"{suite}.test_{suite}", "at": 1}
    return {"test": test, "name": f"test_{name}", "outcome": outcome, **where, **more}


def asked(version: int, outcome: str = PASSED) -> dict[str, Any]:
    return story("differential", "says", outcome, case=f"Fetch-v{version}", api=["Fetch", version])


def effect(outcome: str = PASSED) -> dict[str, Any]:
    return {"test": "tests/broker/test_x.py::test_it", "outcome": outcome, "configs": [["topic", "retention.ms"]]}


def tools(outcome: str = PASSED) -> dict[str, Any]:
    verbs = [[name, verb] for name, tool in TOOLS.items() for verb in tool.verbs if (name, verb) not in NOT_ASKED]
    return story("java_tools", "all", outcome, tools=verbs)


GREEN = [
    *(scenario("alpha", "send", version="1.2"), scenario("beta", "send", version="3.4")),
    *(story("kcat", "list"), effect(), tools(), asked(4), asked(5), asked(6)),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def write(file: Path, tests: list[dict[str, Any]], tree: str = TREE) -> Path:
    file.write_text(json.dumps({"tree": tree, "tests": tests}))
    return file


def changed(**outcomes: str) -> list[dict[str, Any]]:
    """GREEN, but for the tests whose id ends with a name."""
    found = [dict(each) for each in GREEN]
    for each in found:
        each["outcome"] = next((outcome for end, outcome in outcomes.items() if each["test"].endswith(end)), PASSED)
    return found


def drawn(file: Path, tests: list[dict[str, Any]]) -> str:
    return page(read([write(file, tests)]), FACTS)


def row(text: str, start: str) -> list[str]:
    """The cells of the first line of a table that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def said(file: Path, tests: list[dict[str, Any]], tree: str = TREE) -> list[str]:
    return faults(read([write(file, tests, tree)]), FACTS, TREE)


# ── merging ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        (PASSED, LEFT, PASSED),
        (FAILED, LEFT, FAILED),
        (LEFT, PASSED, PASSED),
        (PASSED, FAILED, FAILED),
        (FAILED, PASSED, PASSED),
        (PASSED, SKIPPED, PASSED),
        (LEFT, SKIPPED, "missing"),
    ],
)
def test_the_last_run_of_a_test_counts(tmp_path: Path, first: str, second: str, state: str) -> None:
    files = [
        write(tmp_path / f"{number}.json", [story("kcat", "list", outcome)])
        for number, outcome in enumerate((first, second))
    ]
    assert [line.state for line in read(files).lines] == [state]


def test_runs_add_up_in_any_order(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.json", GREEN[number::3]) for number in range(3)]
    wanted = drawn(tmp_path / "all.json", GREEN)
    assert page(read(files), FACTS) == page(read(reversed(files)), FACTS) == wanted


def test_soak_tests_are_no_cells(file: Path) -> None:
    kcat = {"compat_tests/kcat/test_kcat.py"}
    assert drawn(file, [*GREEN, story("groups", "storm", SOAK)]) == drawn(file, GREEN)
    assert kcat <= read([write(file, [story("kcat", "storm", SOAK)])]).modules


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_green_page(file: Path) -> None:
    text = drawn(file, GREEN)
    assert "✓ **All cells are green.**" in text
    assert text.count(MARKS[FAILED]) == 1  # in the legend
    assert row(text, "alpha")[:2] == ["alpha", "1.2"]
    assert row(text, "send") == ["send", "✓", "✓"]
    assert row(text, "Fetch") == ["Fetch (1)", "4-6", "4-6 ✓", "30", "1"]
    assert "1. Kafka fails inside: Fetch 5-6 (2 requests)" in text
    assert row(text, "kafka-cluster")[1] == "`cluster-id` ✓, `list-endpoints` ✓, `unregister` ✓"
    assert row(text, "kafka-get-offsets")[1] == "✓"
    assert row(text, "list") == ["list", "✓"]
    assert row(text, "topics") == ["topics", "✓ `retention.ms`", "10"]


def test_what_failed_is_red(file: Path) -> None:
    text = drawn(file, [{**each, "outcome": FAILED} for each in GREEN])
    assert f"❌ **{len(GREEN)} tests, {len(GREEN)} failed.**" in text
    assert row(text, "send") == ["send", "❌", "❌"]
    assert row(text, "Fetch")[2] == "4-6 ❌"
    assert row(text, "kafka-groups")[1] == "`--list` ❌"
    assert row(text, "list") == ["list", "❌"]
    assert row(text, "topics")[1] == "❌ `retention.ms`"


def test_one_red_cell_among_others(file: Path) -> None:
    text = drawn(file, changed(v5=FAILED))
    assert f"❌ **{len(GREEN)} tests, 1 failed.**" in text
    assert row(text, "Fetch")[2] == "4, 6 ✓, 5 ❌"


def test_a_cell_of_several_tests_is_the_worst_of_them(file: Path) -> None:
    cases = [story("kcat", "read", outcome, case=case) for case, outcome in (("gzip", PASSED), ("lz4", FAILED))]
    assert row(drawn(file, cases), "read") == ["read (gzip, lz4)", "❌ lz4"]


def test_what_was_not_run_has_no_mark_of_its_own(file: Path) -> None:
    text = drawn(file, changed(send=LEFT, v4=SKIPPED))
    assert f"? **{len(GREEN)} tests, 3 were not run.**" in text
    assert row(text, "send") == ["send", "?", "?"]
    assert row(text, "Fetch")[2] == "4 ?, 5-6 ✓"


def test_a_page_of_a_part_does_not_look_whole(file: Path) -> None:
    text = drawn(file, GREEN[:-1])
    assert "are green" not in text
    assert "The page is not whole: 1 API version is announced and without a test: Fetch v6." in text


def test_a_client_without_results_has_its_column(file: Path) -> None:
    text = drawn(file, [each for each in GREEN if each.get("client") != "beta"])
    assert row(text, "send") == ["send", "✓", "?"]


def test_what_a_library_lacks_has_a_letter_and_its_reason(file: Path) -> None:
    lacks = [
        scenario("beta", name, LACKS, case=case, reason=reason)
        for name, case, reason in (
            ("zip", "gzip", "no codecs"),
            ("zip", "lz4", "no codecs"),
            ("pause", "", "never pauses"),
        )
    ]
    others = [scenario("alpha", "zip", case="gzip"), scenario("alpha", "zip", case="lz4"), scenario("alpha", "pause")]
    text = drawn(file, [*GREEN, *lacks, *others])
    assert row(text, "zip: lz4") == ["zip: lz4", "✓", row(text, "zip: gzip")[2]]
    letters = {row(text, start)[2]: reason for start, reason in (("zip", "no codecs"), ("pause", "never pauses"))}
    assert letters.keys() == {"a", "b"}
    assert f"- beta: {'; '.join(f'{letter}) {letters[letter]}' for letter in 'ab')}" in text
    assert row(text, "beta")[3] == "✓ 1 of 1"


def test_clients_of_a_story_have_columns(file: Path) -> None:
    tests = [
        story("groups", "storm", FAILED if (client, case) == ("java", "tv2") else PASSED, client=client, case=case)
        for client in ("java", "confluent")
        for case in ("tv1", "tv2")
    ]
    assert row(drawn(file, tests), "storm") == ["storm (tv1, tv2)", "✓", "❌ tv2"]


def test_a_module_that_cannot_be_imported_is_red(file: Path) -> None:
    failed = {"test": "compat_tests/gamma/test_gamma.py", "suite": "gamma", "outcome": FAILED}
    assert row(drawn(file, [*GREEN, failed]), "compat_tests/gamma")[1] == "❌"


# ── checking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_green_results_have_no_faults(file: Path) -> None:
    assert said(file, GREEN) == []


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        (changed(v6=FAILED), "1 test failed: compat_tests/differential/test_differential.py::test_saysFetch-v6."),
        (changed(list=LEFT), "1 test was not run: compat_tests/kcat/test_kcat.py::test_list."),
        (changed(list=SKIPPED), "1 test was not run: compat_tests/kcat/test_kcat.py::test_list."),
        (GREEN[:2] + GREEN[3:], "1 test module is not in the results: compat_tests/kcat/test_kcat.py."),
        (GREEN[:-1], "1 API version is announced and without a test: Fetch v6."),
        ([*GREEN, scenario("alpha", "seek")], "1 scenario is neither run nor lacked: beta: test_seek."),
        (GREEN[:1] + GREEN[2:], "1 scenario is neither run nor lacked: beta: test_send."),
        (GREEN[:3] + GREEN[4:], "1 config that acts is seen by no test: retention.ms (topic)."),
        (
            [{**each, "tools": each.get("tools", [])[1:]} for each in GREEN],
            "1 verb of a tool is asked by no test: kafka-topics --create.",
        ),
    ],
)
def test_each_fault_is_a_sentence(file: Path, tests: list[dict[str, Any]], words: str) -> None:
    assert said(file, tests) == [words]


def test_a_version_that_was_not_run_has_no_test(file: Path) -> None:
    assert "1 API version is announced and without a test: Fetch v6." in said(file, changed(v6=LEFT))


def test_results_of_other_sources_tell_nothing(file: Path) -> None:
    (words,) = said(file, GREEN, tree="others")
    assert words == f"1 results file is about other sources than these; run again: {file}."


def test_results_of_other_sources_that_were_run_again_are_no_fault(tmp_path: Path) -> None:
    files = [write(tmp_path / "old.json", GREEN[:2], "others"), write(tmp_path / "new.json", GREEN)]
    assert faults(read(files), FACTS, TREE) == []


@pytest.fixture
def run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command on results and on a page of its own."""
    monkeypatch.setattr(command, "facts", lambda: FACTS)
    monkeypatch.setattr(command, "tree", lambda: TREE)

    def run(what: str, tests: list[dict[str, Any]]) -> int:
        return command.main([str(write(file, tests)), what], tmp_path / "page.md")

    return run


def test_the_check_agrees_with_what_was_written(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--write", GREEN) == 0
    assert run("--check", GREEN) == 0
    assert capsys.readouterr() == ("", "")


def test_the_check_fails_if_the_page_says_something_else(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("--write", GREEN)
    more = [*GREEN, story("kcat", "more")]
    assert run("--check", more) == 1
    first, *diff = capsys.readouterr().err.splitlines()
    assert first.startswith("docs/compatibility.md says something else than the tests")
    assert "+| more | ✓ |" in diff
    assert run("--write", more) == run("--check", more) == 0


def test_the_check_fails_if_there_is_no_page(run: Any) -> None:
    assert run("--check", GREEN) == 1


def test_a_red_page_fails_the_check_even_if_it_was_written(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    red = changed(v5=FAILED)
    assert run("--write", red) == 0
    assert run("--check", red) == 1
    assert "1 test failed" in capsys.readouterr().err


def test_results_that_are_not_there_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path / "none.json"), "--check"]) == 1
    assert "no results in" in capsys.readouterr().err
    assert command.main(["--write"]) == 1
    assert "no results: make test" in capsys.readouterr().err


# ── this tree ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_this_tree_promises_something() -> None:
    known = facts()
    assert {"Produce", "Fetch"} <= {api.name for api in known.served}
    assert not {api.name for api in known.served} & {*known.not_served}
    assert {"kafka_python", "confluent", "aiokafka"} <= {*known.scenario_clients}
    assert "compat_tests/kcat/test_kcat.py" in known.modules
    assert not [module for module in known.modules if "sample_project/shop" in module]


def test_what_no_tool_is_asked_is_a_verb_of_it() -> None:
    assert all(verb in TOOLS[name].verbs for name, verb in NOT_ASKED)
    assert all(RUNS not in tool.verbs or tool.verbs == (RUNS,) for tool in TOOLS.values())
