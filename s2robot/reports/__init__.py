"""HTML pages: one file each, without scripts and networks."""
