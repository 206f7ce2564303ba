"""Draw pictures of what training sees."""
