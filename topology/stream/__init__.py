"""The doors to Kafka and Redis, and the one loop that both workers run."""
