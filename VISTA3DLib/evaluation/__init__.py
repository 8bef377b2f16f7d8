"""How good a model is: protocols, metrics, simulated clicks, classical methods beside it, and a report."""
