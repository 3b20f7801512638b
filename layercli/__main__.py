"""Lets `python -m layercli` do what `layercli` does."""

from layercli.cli.app import main

if __name__ == "__main__":
    main()
