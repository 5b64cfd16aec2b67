"""The read side: projections keep read models, and lag says how far behind they are."""

from eslab.projections.base import AnyProjection, Cost
from eslab.projections.comparison import Comparison, compare
from eslab.projections.folding import Folded, fold
from eslab.projections.lag import ProjectionLag, lag_history, projection_lag
from eslab.projections.projection import Projection, on
from eslab.projections.rebuild import Rebuild
from eslab.projections.rows import Row, Rows
from eslab.projections.runner import ProjectionRunner
from eslab.projections.sql import SqlProjection
from eslab.projections.states import StreamFold, states
from eslab.projections.status import ProjectionStatus, projection_status
from eslab.projections.timetravel import Past, PastReadModel, read_model_as_of

__all__ = [
    "AnyProjection",
    "Comparison",
    "Cost",
    "Folded",
    "Past",
    "PastReadModel",
    "Projection",
    "ProjectionLag",
    "ProjectionRunner",
    "ProjectionStatus",
    "Rebuild",
    "Row",
    "Rows",
    "SqlProjection",
    "StreamFold",
    "compare",
    "fold",
    "lag_history",
    "on",
    "projection_lag",
    "projection_status",
    "read_model_as_of",
    "states",
]
