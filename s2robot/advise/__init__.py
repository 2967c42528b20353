"""Whether a larger vision model is worth it on a user's own frames."""
