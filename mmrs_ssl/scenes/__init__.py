"""Files that belong together, and the windows that are read of them."""
