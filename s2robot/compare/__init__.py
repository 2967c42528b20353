"""`s2robot compare`: what evaluations on the same positions tell about each other, and what they do not."""
