"""Direct speech translation by a Conformer whose encoder is compressed by CTC."""
