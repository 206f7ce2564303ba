"""Read one file on disk: its header, its windows, which of its pixels hold data."""
