"""BizSpeech recipes."""
