"""Clips for trigger-word detection, mixed from words and noise."""
