"""Feedback comes from other systems and goes to them: one file a format, each a pure generator `read(path)`.

`formats.py` knows which format a file has, `store.py` takes records in, `export.py` writes them out.
"""
