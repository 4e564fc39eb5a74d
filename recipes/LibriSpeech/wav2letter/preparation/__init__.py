"""Lexicons and text for the decoders and language models of the wav2letter recipes."""
