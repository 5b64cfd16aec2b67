"""How a Jupyter server answers widgets at once.

The server leaves Nagle's algorithm on (RFC 896): of the messages with which a kernel answers, all
but the first wait until the browser has acknowledged that one, which it often does 40 ms later.
`make lab` starts a server that sends them at once; so does any other with the option
``--ServerApp.kernel_websocket_connection_class=eslab.widgets.server.PromptConnection``.
"""

from __future__ import annotations

import asyncio

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

__all__ = ["PromptConnection"]


class PromptConnection(ZMQChannelsWebsocketConnection):
    """The connection of a browser with a kernel, on which no message waits for another one."""

    def connect(self) -> asyncio.Future[None] | None:  # type: ignore[override] # as there
        """Connect the browser with the kernel."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
