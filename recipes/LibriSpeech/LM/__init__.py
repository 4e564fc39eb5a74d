"""LibriSpeech/LM recipes."""
