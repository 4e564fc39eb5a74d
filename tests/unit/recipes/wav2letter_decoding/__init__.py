"""Tests of the beam searches, their language models, and what prepares them."""
