"""The commands that the embedded environment adds to the command line."""
