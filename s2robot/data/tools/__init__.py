"""`s2robot demos COMMAND PATH`: list, inspect, validate, repair, replay and edit a demo store."""
