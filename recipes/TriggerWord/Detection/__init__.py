"""Frame-wise detection: when the word was said."""
