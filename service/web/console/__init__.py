"""The console: what operators and reviewers look at and decide on, one file a page."""
