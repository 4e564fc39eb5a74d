"""BizSpeech/ASR recipes."""
