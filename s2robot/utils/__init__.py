"""Tools that know nothing of robots: atomic files, hashes, worker processes, rendering back ends, rates."""
