"""Runs compared on equal terms, and a ledger of all runs; reads what runs have written."""
