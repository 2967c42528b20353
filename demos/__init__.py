"""Recording of demos: scripted experts and teleoperation."""
