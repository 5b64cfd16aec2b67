"""Live widgets of the views: the only place that imports a widget library."""
