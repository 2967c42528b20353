"""`s2robot evaluate`: rollouts of a policy from given positions: counted, kept, resumed and replayed."""
