"""Generate scenes: the data of the demo and of the tests."""
