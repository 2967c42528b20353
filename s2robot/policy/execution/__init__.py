"""From predicted chunks to actions, step by step."""
