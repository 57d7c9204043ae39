"""Where a training process runs (local.py starts `python -m trainer run FOLDER` and hands back a handle), and how it
becomes several that train together (several.py)."""
