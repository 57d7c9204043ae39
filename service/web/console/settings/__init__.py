"""An assistant's settings, a file a tab: guidelines, policies, consent, webhooks, retention, suites, erasures."""
