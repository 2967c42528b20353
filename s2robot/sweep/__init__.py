"""`s2robot sweep`: many trainings that differ in a few options, and one table of what came of them."""
