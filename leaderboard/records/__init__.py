"""Records of runs: their schema, their versions, the files that hold them."""
