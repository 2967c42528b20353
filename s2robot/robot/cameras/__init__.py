"""Cameras of real robots."""
