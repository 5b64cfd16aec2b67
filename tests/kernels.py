"""Gives the kernels that nbval starts the environment in which committed outputs were made.

A plugin, not a conftest: the notebooks are not below the tests, so a conftest here is not asked.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from unittest import mock

import pytest
from nbval.plugin import IPyNbCell

from eslab.testing.notebooks import kernel_environment

ENVIRONMENT = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the environment; its folder lasts as long as the run, as kernels use it."""
    stack = ExitStack()
    config.add_cleanup(stack.close)
    config.stash[ENVIRONMENT] = stack.enter_context(kernel_environment())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Start the kernel, which nbval does before a notebook's first cell."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    with mock.patch.dict(os.environ, item.config.stash[ENVIRONMENT], clear=True):
        return (yield)
