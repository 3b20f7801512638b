"""layercli makes, opens and converts layered pictures from the command line."""

__version__ = "0.1.0"
