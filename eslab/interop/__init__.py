"""Events of other systems, and eslab's events for them; each format in a module of its own."""
