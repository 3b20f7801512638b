"""Floor 4: argv → request → verb → lines and an exit code; the only home of typer, rich and print."""
