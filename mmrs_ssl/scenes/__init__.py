"""Group files that belong together into scenes, and say which windows of them are read."""
