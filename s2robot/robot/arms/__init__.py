"""Drivers of real arms."""
