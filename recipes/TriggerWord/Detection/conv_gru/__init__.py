"""Convolution and two GRU layers, frame by frame."""
