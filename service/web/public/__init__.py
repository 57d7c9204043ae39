"""What anybody may read: what changed, and what became of their feedback."""
