"""The read side: projections keep read models, and lag says how far behind they are."""

from eslab.projections.lag import ProjectionLag, lag_history, projection_lag
from eslab.projections.projection import Cost, Projection, on
from eslab.projections.rows import Row, Rows
from eslab.projections.runner import ProjectionRunner

__all__ = [
    "Cost",
    "Projection",
    "ProjectionLag",
    "ProjectionRunner",
    "Row",
    "Rows",
    "lag_history",
    "on",
    "projection_lag",
]
