"""The tenants' heads of one cell: token vectors in, intents and entities out. Needs no torch."""
