"""From what people said to rows worth training on; `pipeline.py` reads like the list of stages."""
