"""Messages between parts: the plain bus in the process, and the relay that feeds it the log."""

from eslab.bus.local import Failure, LocalBus
from eslab.bus.relay import Relay

__all__ = ["Failure", "LocalBus", "Relay"]
