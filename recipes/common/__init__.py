"""Plumbing that the recipes share."""
