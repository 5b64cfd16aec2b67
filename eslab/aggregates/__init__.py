"""The write side: aggregates, folded from their events, that decide what happens next."""

from eslab.aggregates.aggregate import Aggregate, applies
from eslab.aggregates.repository import Repository

__all__ = ["Aggregate", "Repository", "applies"]
