"""`make lab` opens the tour, also for root, and tells its address to who has no browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
JUPYTER = Path(sys.prefix) / "bin" / "jupyter"


@pytest.mark.skipif(
    not (shutil.which("make") and JUPYTER.exists()), reason="there is no make, or no JupyterLab"
)
def test_make_lab_opens_the_tour(tmp_path: Path) -> None:
    opened, log = tmp_path / "opened", tmp_path / "log"
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\ncat "${{1#file://}}" > {opened}.part && mv {opened}.part {opened}\n'
    )
    browser.chmod(0o755)
    folders = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    # What is installed here is taken as it is.
    installed = f"--old-file={sys.prefix}/.eslab-installed"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", installed, f"VENV={sys.prefix}", "lab", "LAB_ARGS=--ServerApp.port=0"],
            cwd=CHECKOUT,
            env={
                **os.environ,
                **{name: str(tmp_path / name.lower()) for name in folders},
                "BROWSER": f"{browser} %s",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not opened.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert opened.exists(), log.read_text()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
    tour = "/lab/tree/notebooks/00_tour.ipynb"
    assert tour in opened.read_text()
    assert re.search(rf"http://\S+{tour}\?token=", log.read_text())
