"""Small, exemplary domains: each with its events, its aggregates and its saga."""
