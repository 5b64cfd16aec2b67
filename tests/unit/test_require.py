"""ESLAB_REQUIRE: each way in which a required service could go untested is planted, and found."""

from __future__ import annotations

from pathlib import Path

import pytest
import services

PASSES = "import pytest\n@pytest.mark.browser\ndef test_it(): pass\n"
SKIPS = "import pytest\n@pytest.mark.browser\ndef test_it(): pytest.skip('no browser here')\n"
PLAIN = "def test_plain(): pass\n"


class Project:
    """A small project with the plugin under test, run in a process of its own."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch

    def run(self, *arguments: str, require: str = "", **modules: str) -> pytest.RunResult:
        """Write the test modules and run them with a value of ESLAB_REQUIRE."""
        self.monkeypatch.setenv("ESLAB_REQUIRE", require)
        self.pytester.makepyfile(**modules)
        plugins = ("-p", "services", "-p", "xdist", "--strict-markers")
        return self.pytester.runpytest_subprocess(*plugins, *arguments)


@pytest.fixture(params=[(), ("-n", "2", "--dist", "loadfile")], ids=["one-process", "xdist"])
def spread(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PYTHONPATH", str(Path(services.__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Project(pytester, monkeypatch)


def test_a_skip_is_a_skip_where_nothing_is_required(
    project: Project, spread: tuple[str, ...]
) -> None:
    result = project.run(*spread, test_a=SKIPS)
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_skip_of_a_required_service_fails(project: Project, spread: tuple[str, ...]) -> None:
    result = project.run(*spread, require="browser", test_a=SKIPS, test_b=PASSES)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*ESLAB_REQUIRE=browser, but it skipped: *no browser here*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_skip_of_another_service_stays_a_skip(project: Project, spread: tuple[str, ...]) -> None:
    flights = PASSES.replace("browser", "flights")
    result = project.run(*spread, require="flights", test_a=SKIPS, test_b=flights)
    result.assert_outcomes(skipped=1, passed=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_required_service_that_passes_is_reported(
    project: Project, spread: tuple[str, ...]
) -> None:
    result = project.run(*spread, require="browser", test_a=PASSES)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["required service browser *: 1 passed"])


@pytest.mark.parametrize("module", [PLAIN, ""], ids=["unmarked", "empty"])
def test_a_required_service_without_a_test_fails(
    project: Project, spread: tuple[str, ...], module: str
) -> None:
    result = project.run(*spread, require="browser", test_a=module)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["required service browser *: 0 passed"])


def test_deselected_tests_do_not_count(project: Project) -> None:
    result = project.run("-k", "plain", require="browser", test_a=PASSES + PLAIN)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_folder_of_that_name_is_no_marker(project: Project, pytester: pytest.Pytester) -> None:
    pytester.mkdir("browser")
    result = project.run(require="browser", **{"browser/test_a": PLAIN})
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_an_expected_failure_stays_one(project: Project) -> None:
    expected = (
        "import pytest\n@pytest.mark.browser\n@pytest.mark.xfail(reason='not yet')\n"
        "def test_it(): assert False\n"
    )
    result = project.run(require="browser", test_a=expected, test_b=PASSES)
    result.assert_outcomes(xfailed=1, passed=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_skip_by_marker_or_fixture_fails_too(project: Project) -> None:
    by_marker = SKIPS.replace("def", "@pytest.mark.skip(reason='not today')\ndef")
    by_fixture = (
        "import pytest\n@pytest.fixture\ndef page(): pytest.skip('no page')\n"
        "@pytest.mark.browser\ndef test_it(page): pass\n"
    )
    result = project.run(require="browser", test_a=by_marker, test_b=by_fixture, test_c=PASSES)
    result.assert_outcomes(errors=2, passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_module_that_skips_as_a_whole_fails(project: Project) -> None:
    whole = "import pytest\npytest.importorskip('no_such_package')\n" + PASSES
    result = project.run(require="browser", test_a=whole, test_b=PASSES)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*test_a.py skips as a whole*"])


@pytest.mark.parametrize("require", ["brwoser", "browser,kafak", "browser;flights"])
def test_an_unknown_service_is_an_error(project: Project, require: str) -> None:
    result = project.run(require=require, test_a=PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ESLAB_REQUIRE names unknown services*known: browser, flights*"])


@pytest.mark.parametrize("require", ["browser, flights", "browser flights", ",browser,,flights,"])
def test_names_are_separated_by_commas_or_blanks(project: Project, require: str) -> None:
    both = PASSES + PASSES.replace("browser", "flights").replace("_it", "_flights")
    assert project.run(require=require, test_a=both).ret == pytest.ExitCode.OK


def test_listing_tests_requires_nothing(project: Project) -> None:
    assert project.run("--collect-only", require="browser", test_a=PLAIN).ret == pytest.ExitCode.OK
