"""MuST-C recipes."""
