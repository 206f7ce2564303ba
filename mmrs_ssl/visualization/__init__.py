"""Pictures of what training sees."""
