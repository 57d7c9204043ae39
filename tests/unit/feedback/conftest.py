"""Hypothesis without deadlines: a busy machine is no bug."""

import hypothesis

hypothesis.settings.register_profile("noisy machines", deadline=None)
hypothesis.settings.load_profile("noisy machines")
