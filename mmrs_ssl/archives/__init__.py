"""Whole archives: statistics, tiles, and the checks of those who write them."""
