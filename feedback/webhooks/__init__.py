"""Webhooks: other programs are told of runs, verdicts, releases and alerts. models, hooks, deliveries."""
