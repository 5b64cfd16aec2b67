"""Views of a store: data, a plotly figure and a static picture or table of each."""

from eslab.views.base import PictureView, View, render_mode
from eslab.views.branch import ComparisonView, ConsequencesView
from eslab.views.events import EventsView, events_figure
from eslab.views.events_filter import EventsFilter
from eslab.views.events_pages import EventPages
from eslab.views.exploration import ExplorationView, exploration_figure
from eslab.views.fleet import FleetView
from eslab.views.flow import MessageFlow, flow_figure
from eslab.views.lag import LagView, lag_figure
from eslab.views.lag_ribbon import VerdictSpan
from eslab.views.latency import LatencyView, latency_figure
from eslab.views.lineage import LineageView
from eslab.views.opened_event import OpenedEvent
from eslab.views.player import StreamPlayer, player_figure
from eslab.views.projections import ProjectionsView, projections_figure
from eslab.views.saga import SagaTimeline, saga_figure
from eslab.views.saga_comparison import SagaComparison
from eslab.views.sagas import SagasView, TimersView
from eslab.views.versions import VersionsView
from eslab.views.visibility import VisibilityView, Visible, visibility_figure, visible_at
from eslab.views.what_if import WhatIfView

__all__ = [
    "ComparisonView",
    "ConsequencesView",
    "EventPages",
    "EventsFilter",
    "EventsView",
    "ExplorationView",
    "FleetView",
    "LagView",
    "LatencyView",
    "LineageView",
    "MessageFlow",
    "OpenedEvent",
    "PictureView",
    "ProjectionsView",
    "SagaComparison",
    "SagaTimeline",
    "SagasView",
    "StreamPlayer",
    "TimersView",
    "VerdictSpan",
    "VersionsView",
    "View",
    "VisibilityView",
    "Visible",
    "WhatIfView",
    "events_figure",
    "exploration_figure",
    "flow_figure",
    "lag_figure",
    "latency_figure",
    "player_figure",
    "projections_figure",
    "render_mode",
    "saga_figure",
    "visibility_figure",
    "visible_at",
]
