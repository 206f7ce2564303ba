"""Measure what a backbone has learned."""
