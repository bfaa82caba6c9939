"""Bytes to frames to methods and back; knows no broker."""
