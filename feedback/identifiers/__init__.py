"""What identifies people, found in texts and replaced: one file a family of identifiers, no tables, no models."""
