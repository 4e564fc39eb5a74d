"""What the wav2letter recipes share: features, tokens, criteria, networks, rules of training."""
