"""LibriSpeech/LM/conv_lm recipes."""
