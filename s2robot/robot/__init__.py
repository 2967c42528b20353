"""Real arms and cameras as an environment like the simulated one, behind one safety layer (docs/robot.md)."""
