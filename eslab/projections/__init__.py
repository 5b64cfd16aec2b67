"""The read side: projections keep read models, and lag says how far behind they are."""

from eslab.projections.base import AnyProjection, Cost
from eslab.projections.folding import Folded, fold
from eslab.projections.lag import ProjectionLag, lag_history, projection_lag
from eslab.projections.projection import Projection, on
from eslab.projections.rows import Row, Rows
from eslab.projections.runner import ProjectionRunner
from eslab.projections.sql import SqlProjection
from eslab.projections.status import ProjectionStatus, projection_status

__all__ = [
    "AnyProjection",
    "Cost",
    "Folded",
    "Projection",
    "ProjectionLag",
    "ProjectionRunner",
    "ProjectionStatus",
    "Row",
    "Rows",
    "SqlProjection",
    "fold",
    "lag_history",
    "on",
    "projection_lag",
    "projection_status",
]
