"""Action heads, one file each: predict an action chunk from a step's vector and compute its loss."""
