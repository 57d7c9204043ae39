"""Where a training process runs. Each launcher starts `python -m trainer run FOLDER` and hands back a handle."""
