"""Training's steps between products in compiled code, for processors with bfloat16 products (AVX-512 BF16)."""
