"""Measures of what a backbone has learned."""
