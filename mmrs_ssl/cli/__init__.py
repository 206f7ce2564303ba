"""Read configs, prepare them for the machine and explain errors, for all command-line tools."""
