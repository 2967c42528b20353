"""Other projects' robots, policies and environments."""
