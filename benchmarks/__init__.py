"""What `headrace bench` runs: every speed is a ratio taken in one run, on hardware that is printed with it."""
