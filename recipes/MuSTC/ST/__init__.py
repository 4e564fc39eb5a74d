"""MuST-C speech translation recipes."""
