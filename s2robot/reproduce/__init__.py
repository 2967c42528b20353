"""`s2robot reproduce WHAT`: an experiment run by its plan, resumed and reported."""
