"""One TCP peer: handshake, heartbeats, and channels by number."""
