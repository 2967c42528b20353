"""Stands in for lerobot: as much of it as driving a plug-in takes."""
