"""Beam searches of the wav2letter recipes, and the language models that they ask."""
