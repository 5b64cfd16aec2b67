"""The read side: projections keep read models, and lag says how far behind they are."""

from eslab.projections.base import AnyProjection, Cost
from eslab.projections.comparison import Comparison, compare
from eslab.projections.folding import Folded, fold
from eslab.projections.incidents import Incident, incidents
from eslab.projections.lag import ProjectionLag, lag_history, projection_lag
from eslab.projections.latency import became_visible, latencies, visibility
from eslab.projections.measures import LagMeasures, measure_lag, measure_lags
from eslab.projections.projection import Projection, on
from eslab.projections.rebuild import Rebuild
from eslab.projections.rows import Row, Rows
from eslab.projections.runner import ProjectionRunner
from eslab.projections.sql import SqlProjection
from eslab.projections.states import StreamFold, states
from eslab.projections.status import ProjectionStatus, projection_status
from eslab.projections.timetravel import Past, PastReadModel, read_model_as_of
from eslab.projections.verdict import Sample, Verdict, judge
from eslab.projections.verdicts import Ruling, verdict_history

__all__ = [
    "AnyProjection",
    "Comparison",
    "Cost",
    "Folded",
    "Incident",
    "LagMeasures",
    "Past",
    "PastReadModel",
    "Projection",
    "ProjectionLag",
    "ProjectionRunner",
    "ProjectionStatus",
    "Rebuild",
    "Row",
    "Rows",
    "Ruling",
    "Sample",
    "SqlProjection",
    "StreamFold",
    "Verdict",
    "became_visible",
    "compare",
    "fold",
    "incidents",
    "judge",
    "lag_history",
    "latencies",
    "measure_lag",
    "measure_lags",
    "on",
    "projection_lag",
    "projection_status",
    "read_model_as_of",
    "states",
    "verdict_history",
    "visibility",
]
