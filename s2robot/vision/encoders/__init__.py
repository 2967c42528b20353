"""Frozen vision encoders: MVP's own, timm's, controls."""
