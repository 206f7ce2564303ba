"""Work on whole archives: count their statistics, cut them into tiles, check that they are complete."""
