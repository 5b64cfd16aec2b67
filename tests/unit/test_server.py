"""The Jupyter server of `make lab`."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler

from eslab.widgets.server import PromptConnection


def test_no_message_waits_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser has no say in it, and a person would see 40 ms more or less only now and then."""
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: "connected")
    handler = Mock(spec=KernelWebsocketHandler)
    connection = PromptConnection(websocket_handler=handler)
    assert connection.connect() == "connected"
    handler.set_nodelay.assert_called_once_with(True)
