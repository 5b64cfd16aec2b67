"""Views of a store: data, a plotly figure and a static picture or table of each."""

from eslab.views.base import PictureView, View, render_mode
from eslab.views.events import EventsView, events_figure
from eslab.views.exploration import ExplorationView, exploration_figure
from eslab.views.lag import LagView, lag_figure
from eslab.views.lag_ribbon import VerdictSpan
from eslab.views.latency import LatencyView, latency_figure
from eslab.views.player import StreamPlayer, player_figure
from eslab.views.projections import ProjectionsView, projections_figure
from eslab.views.saga import SagaTimeline, saga_figure
from eslab.views.sagas import SagasView, TimersView
from eslab.views.visibility import VisibilityView, Visible, visibility_figure, visible_at
from eslab.views.what_if import WhatIfView

__all__ = [
    "EventsView",
    "ExplorationView",
    "LagView",
    "LatencyView",
    "PictureView",
    "ProjectionsView",
    "SagaTimeline",
    "SagasView",
    "StreamPlayer",
    "TimersView",
    "VerdictSpan",
    "View",
    "VisibilityView",
    "Visible",
    "WhatIfView",
    "events_figure",
    "exploration_figure",
    "lag_figure",
    "latency_figure",
    "player_figure",
    "projections_figure",
    "render_mode",
    "saga_figure",
    "visibility_figure",
    "visible_at",
]
