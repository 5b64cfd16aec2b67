"""What every widget of eslab must do in JupyterLab, whatever it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat
from browser.jupyter import PANEL, OpenNotebook, Server, Watch
from playwright.sync_api import Locator, expect

Open = Callable[[Path], OpenNotebook]

SEVERE = ("serious", "critical")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def written(folder: Path, name: str, cells: Iterable[str]) -> Path:
    """Write a notebook of these cells, and return its path."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    for number, source in enumerate(cells, 1):
        cell = nbformat.v4.new_code_cell(source)
        cell["id"] = f"cell-{number}"
        notebook.cells.append(cell)
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


def widget(notebook: OpenNotebook, kind: str) -> Locator:
    """Return the widget of a kind, which is on the page."""
    found = notebook.page.locator(f"[data-eslab='{kind}']").first
    expect(found).to_be_visible()
    found.scroll_into_view_if_needed()
    return found


def said(widget: Locator) -> Locator:
    """Return the line that screen readers read out."""
    return widget.get_by_role("status").first


def violations(inside: Locator) -> list[str]:
    """Return the serious violations of accessibility that axe-core finds in an element."""
    page = inside.page
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found: list[dict[str, Any]] = inside.evaluate(
        "element => axe.run(element, {resultTypes: ['violations']}).then(r => r.violations)"
    )
    return [
        f"{one['id']}: {one['help']} ({one['nodes'][0]['html'][:200]})"
        for one in found
        if one["impact"] in SEVERE
    ]


def press(widget: Locator, notebook: OpenNotebook, *keys: str) -> None:
    """Press keys in a widget; none of them may reach JupyterLab, which may insert cells."""
    before = [cell["source"] for cell in notebook.cells()]
    for key in keys:
        widget.press(key)
    assert [cell["source"] for cell in notebook.cells()] == before
    inside = "root => root.contains(document.activeElement)"
    widget.page.wait_for_function(inside, arg=widget.element_handle())


def picture_remains(notebook: OpenNotebook, server: Server, watch: Watch, kind: str) -> None:
    """Saved and opened again, a notebook shows the static display where its kernel is gone.

    With the kernel that made it the widget lives again; with a fresh kernel, without one, and in a
    copy, which JupyterLab does not trust, the picture or the table is there, and no error.

    Args:
        notebook: whose cells ran; it has one widget.
        server: the JupyterLab.
        watch: over the page.
        kind: of the widget.
    """
    page = notebook.page
    live = page.locator(f"[data-eslab='{kind}']")
    static = page.locator(".eslab-static")
    expect(static).to_be_hidden()
    notebook.command("docmanager:save")
    page.reload()
    page.wait_for_function(f"() => {PANEL}?.isReady")
    expect(live.first).to_be_visible()
    expect(static).to_be_hidden()
    assert watch.faults == []

    def shown() -> None:
        expect(static).to_be_visible()
        expect(static.locator("img, table, p").first).to_be_visible()
        expect(live).to_have_count(0)
        expect(page.get_by_text("Error displaying widget")).to_be_hidden()

    address = page.url
    page.goto("about:blank")  # an open page would call for its kernel
    server.shut_sessions_down()
    page.goto(address)  # JupyterLab starts a fresh kernel
    page.wait_for_function(f"() => {PANEL}?.isReady")
    shown()
    notebook.shut_kernel_down()
    shown()
    # JupyterLab's widget manager says in the console, too, that it knows the widget no more.
    watch.faults[:] = [fault for fault in watch.faults if "model not found" not in fault]
    saved = server.root / f"{notebook.name}.ipynb"
    copy = saved.with_name(f"{notebook.name}-copy.ipynb")
    copy.write_bytes(saved.read_bytes())
    page.goto(f"{server.url}/lab/tree/{copy.name}?reset&token={server.token}")
    page.wait_for_function(f"() => {PANEL}?.isReady")
    shown()
