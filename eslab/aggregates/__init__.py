"""The write side: aggregates and deciders, folded from their events, say what happens next."""

from eslab.aggregates.aggregate import Aggregate, applies, handles
from eslab.aggregates.decider import Decider, Entity
from eslab.aggregates.repository import Repository, SnapshotReport, is_definition
from eslab.aggregates.sourced import Definition, Sourced

__all__ = [
    "Aggregate",
    "Decider",
    "Definition",
    "Entity",
    "Repository",
    "SnapshotReport",
    "Sourced",
    "applies",
    "handles",
    "is_definition",
]
