"""Subscriptions: the log from a checkpoint on, batch by batch."""

from eslab.subscriptions.subscription import Batch, Subscription

__all__ = ["Batch", "Subscription"]
