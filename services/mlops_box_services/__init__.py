"""Serves the box's models over HTTP: a BentoML service with a fast path in front."""
