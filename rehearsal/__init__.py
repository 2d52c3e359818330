"""The embedded environment: a whole staging site on one machine, with a stand-in for the Stella platform."""
