"""`s2robot demos VERB PATH`: a demo store listed, looked at, checked, mended, replayed and rearranged."""
