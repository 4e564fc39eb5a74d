"""The recipes: one folder per corpus, task and model."""
