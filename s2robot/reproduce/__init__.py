"""`s2robot reproduce table10`: the S² paper's experiment in simulation, run, resumed and reported."""
