"""Who gets which message, and when it leaves."""
