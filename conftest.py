"""For all tests: what CI=true changes.

A skipped test is a failed one, so that nothing drops out unnoticed; random tests take the same examples each time, so
that a change is not judged by what it did not cause (elsewhere they go on searching).
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

pytest_plugins = ["compat_tests.results"]  # --results

IN_CI = os.environ.get("CI") == "true"

settings.register_profile("ci", derandomize=True)
if IN_CI:
    settings.load_profile("ci")


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a skip is a failure under CI=true: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Each test."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Each module that is skipped as a whole."""
    report = yield
    _fail_if_skipped(report)
    return report
