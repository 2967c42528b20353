"""`s2robot deploy`: a policy drives a robot, and what became of it is counted (docs/robot.md)."""
