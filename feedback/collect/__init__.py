"""Feedback comes in: one file a kind, each saying what its `value` may be; `intake` stores; `receipts` tells."""
