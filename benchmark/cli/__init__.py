"""The command line: one file a command. It is the top of the house: no other room imports it."""
