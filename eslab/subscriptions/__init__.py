"""Subscriptions: the log from a checkpoint on, batch by batch, and what keeps them going."""

from eslab.subscriptions.runner import Runner, Worker
from eslab.subscriptions.subscription import Batch, BatchReport, Part, Subscription

__all__ = ["Batch", "BatchReport", "Part", "Runner", "Subscription", "Worker"]
