"""BizSpeech/ASR/seq2seq recipes."""
