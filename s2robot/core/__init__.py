"""What every part speaks: robot specs, observations, rollouts, errors."""
