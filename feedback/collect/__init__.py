"""Feedback comes in: one file a kind, which says what `value` may be; `intake` stores, `form` and `receipts` tell."""
