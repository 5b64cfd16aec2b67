"""Subscriptions: the log from a checkpoint on, batch by batch, and what keeps them going."""

from eslab.subscriptions.delivery import DeadLetter, DeadLetters, Inbox, Redelivery
from eslab.subscriptions.engine import Engine
from eslab.subscriptions.policy import ErrorPolicy, Retry
from eslab.subscriptions.runner import Runner, Worker
from eslab.subscriptions.subscription import Batch, BatchReport, Part, Subscription
from eslab.subscriptions.threads import WorkerThreads

__all__ = [
    "Batch",
    "BatchReport",
    "DeadLetter",
    "DeadLetters",
    "Engine",
    "ErrorPolicy",
    "Inbox",
    "Part",
    "Redelivery",
    "Retry",
    "Runner",
    "Subscription",
    "Worker",
    "WorkerThreads",
]
