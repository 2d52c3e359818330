"""The site as the harness reaches it: one driver for each thing that a target file names."""
