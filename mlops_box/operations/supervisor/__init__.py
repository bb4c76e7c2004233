"""One process that starts the box's servers, watches them, and stops them in order."""
