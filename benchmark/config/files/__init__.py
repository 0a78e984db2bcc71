"""Files that configure: where they are found, how they are read and written, and the suites among them."""
