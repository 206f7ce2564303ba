"""Momentum teachers, and what the methods that have one share."""
