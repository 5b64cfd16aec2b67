"""A widget that is gone leaves its picture behind, and what hides that is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import widgets
from browser.jupyter import Server, Watch
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SETUP = """
import eslab
from eslab.simulation.scenarios.accounts import *
lab = eslab.Lab(seed=7)
lab.register(account)
lab.execute(OpenAccount(account_id='1', owner='Ann'))
lab.execute(Deposit(account_id='1', amount=30))
"""


def test_the_static_display_is_there_whatever_became_of_the_kernel(
    open_in_lab: widgets.Open, server: Server, watch: Watch, tmp_path: Path
) -> None:
    notebook = open_in_lab(
        widgets.written(tmp_path, "fallback", [SETUP, "lab.replay('account-1')"])
    )
    notebook.run_all()
    assert notebook.errors() == []
    widgets.picture_remains(notebook, server, watch, "player")


def test_an_element_without_a_name_is_found(open_in_lab: widgets.Open, tmp_path: Path) -> None:
    notebook = open_in_lab(widgets.written(tmp_path, "axe", [SETUP, "lab.replay('account-1')"]))
    notebook.run_all()
    player = widgets.widget(notebook, "player")
    assert widgets.violations(player) == []
    player.evaluate("root => root.append(document.createElement('button'))")
    assert [one for one in widgets.violations(player) if one.startswith("button-name")]
    expect(widgets.said(player)).to_contain_text("account-1")
