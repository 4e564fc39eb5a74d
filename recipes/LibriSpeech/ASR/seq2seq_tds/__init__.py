"""Word pieces by time-depth separable convolutions and an attention decoder."""
