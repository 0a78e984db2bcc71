"""What is to be run, and what may be named: registered names, plugins, and one line for every mistake."""
