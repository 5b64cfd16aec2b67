"""Fixtures for the browser tests: one JupyterLab a run, one fresh page a test, no fault unseen."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser.jupyter import (
    CHROMIUM_ARGUMENTS,
    HEIGHT,
    WIDTH,
    OpenNotebook,
    Server,
    Watch,
    find_chromium,
    jupyterlab,
    open_notebook,
    screenshot_path,
)

# Before a test imports it; without it a failed assertion there says nothing.
pytest.register_assert_rewrite("browser.looks")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with jupyterlab(tmp_path_factory.mktemp("jupyter") / "lab") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module, not of the run: while it lives, its thread has a running event loop."""
    if not importlib.util.find_spec("playwright"):
        pytest.skip("playwright is not installed: pip install 'eslab[test]'")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium on the PATH: on Debian and Ubuntu, apt install chromium")
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS) as running,
    ):
        yield running


@pytest.fixture
def watch() -> Watch:
    """Return what notes the faults of the page; a test that plants one clears it."""
    return Watch()


@pytest.fixture
def kernels(server: Server) -> Iterator[None]:
    """End the kernels after the page is closed: an open one would call for its kernel."""
    yield
    server.shut_sessions_down()


@pytest.fixture
def page(
    request: pytest.FixtureRequest, browser: Browser, watch: Watch, kernels: None
) -> Iterator[Page]:
    """Return a fresh page; a picture of it is kept however the test ends."""
    viewport = {"width": WIDTH, "height": HEIGHT}
    with browser.new_context(viewport=viewport, service_workers="block") as context:
        page = context.new_page()
        page.set_default_timeout(30_000)
        watch.over(page)
        yield page
        page.screenshot(path=screenshot_path(f"{request.node.name}-end"))
    assert watch.faults == []


@pytest.fixture
def open_in_lab(page: Page, server: Server) -> Callable[[Path], OpenNotebook]:
    """Return a function that opens a copy of a notebook; its kernel ends with the test."""
    return lambda path: open_notebook(page, server, path)
