"""What every Headrace process shares: the contract (pure), and under `stream` its doors and loop."""
