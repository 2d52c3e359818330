"""The binaries that the embedded environment runs: built or unpacked once, kept in the user cache."""
