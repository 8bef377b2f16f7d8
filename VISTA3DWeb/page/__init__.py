"""The page: its templates, and the state that they show."""
