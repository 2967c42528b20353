"""Features to actions: pooling, transformer, normalisation, checkpoints, chunk execution."""
