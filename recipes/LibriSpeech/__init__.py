"""Recipes on LibriSpeech, read books (Panayotov et al. 2015)."""
