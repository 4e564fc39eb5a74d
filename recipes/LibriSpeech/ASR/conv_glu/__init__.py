"""Letters by gated convolutions, trained with the auto segmentation criterion."""
