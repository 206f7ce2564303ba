"""One file on disk: headers, windows, pixels that hold no data, pictures."""
