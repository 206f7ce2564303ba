"""Look at a training before it runs: a file for each kind of thing that is compared with another."""
