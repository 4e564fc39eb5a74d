"""Detection of one spoken word."""
