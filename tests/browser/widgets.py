"""What every widget of eslab must do in JupyterLab, whatever it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat
from browser.jupyter import OpenNotebook, Server
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
    modes = notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.mode")
    assert modes in ("command", "edit")


def picture_remains(notebook: OpenNotebook, server: Server, open_again: Open, text: str) -> None:
    """Saved and opened again, a notebook shows the static display where a widget was.

    With the kernel that made it, with a fresh one, and without one.

    Args:
        notebook: whose cells ran.
        server: the JupyterLab.
        open_again: opens a notebook anew.
        text: what the static display says: the text of an image, or of a table.
    """
    notebook.command("docmanager:save")
    page = notebook.page
    saved = server.root / f"{notebook.name}.ipynb"

    def shown() -> None:
        area = page.locator(".jp-Cell-outputArea")
        picture = area.locator(f"img[alt*='{text}']").or_(area.get_by_text(text))
        expect(picture.first).to_be_visible()

    page.reload()
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context?.isReady")
    shown_or_alive = page.locator(".jp-Cell-outputArea").first
    expect(shown_or_alive).to_be_visible()
    server.shut_sessions_down()
    copy = saved.with_name(f"{notebook.name}-again.ipynb")
    copy.write_bytes(saved.read_bytes())
    open_again(copy)
    shown()
    server.shut_sessions_down()
    shown()
