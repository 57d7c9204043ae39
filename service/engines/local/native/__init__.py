"""The decoder in compiled code, for Llama-shaped models on a CPU: built when the package is installed, if it can be."""
