"""LeRobot, which lives in an environment of its own."""
