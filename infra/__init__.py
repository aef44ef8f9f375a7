"""Everything around the workers: weights, data, training, the local stack, the command line."""
