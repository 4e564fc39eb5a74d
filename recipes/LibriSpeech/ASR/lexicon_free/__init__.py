"""The Conv GLU model trained in phases and decoded without a lexicon."""
