"""Taking out for good what somebody said: out of the tables at once, then out of the files, then out of free space."""
