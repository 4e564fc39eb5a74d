"""From raw corpora to TAR shards, and from shards to batches."""
