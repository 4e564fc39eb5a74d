"""Tests of the convolutional language model."""
