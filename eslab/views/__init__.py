"""Views of a store: data, a plotly figure and a static picture or table of each."""

from eslab.views.base import PictureView, View, render_mode
from eslab.views.events import EventsView, events_figure
from eslab.views.lag import LagView, lag_figure
from eslab.views.player import StreamPlayer, player_figure
from eslab.views.projections import ProjectionsView, projections_figure
from eslab.views.saga import SagaTimeline, saga_figure

__all__ = [
    "EventsView",
    "LagView",
    "PictureView",
    "ProjectionsView",
    "SagaTimeline",
    "StreamPlayer",
    "View",
    "events_figure",
    "lag_figure",
    "player_figure",
    "projections_figure",
    "render_mode",
    "saga_figure",
]
