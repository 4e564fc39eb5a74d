"""Speech recognition on LibriSpeech."""
