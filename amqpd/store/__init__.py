"""The log of messages, its checkpoints and recovery, and the topology in SQLite."""
