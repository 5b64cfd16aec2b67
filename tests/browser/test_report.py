"""The demo's report as a person sees it, who may have a phone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from browser.jupyter import screenshot_path

from eslab.demo import run_demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_demo(progress=False).write_report(tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1000, "light")])
def test_the_report_fits_the_page(
    browser: Browser, report: Path, width: int, scheme: Literal["dark", "light"]
) -> None:
    with browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    ) as context:
        page = context.new_page()
        page.goto(report.as_uri())
        page.wait_for_function("document.querySelectorAll('.plot-container').length === 4")
        page.screenshot(path=screenshot_path(f"report-{width}"), full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        overlaps = """
            () => [...document.querySelectorAll('.js-plotly-plot')].filter(plot => {
                const legend = plot.querySelector('.legend')?.getBoundingClientRect();
                const title = plot.querySelector('.gtitle')?.getBoundingClientRect();
                return legend && title && title.height && legend.top < title.bottom;
            }).length
        """
        assert page.evaluate(overlaps) == 0
