"""The local stack: brokers, Redis, workers, and what keeps them running."""
