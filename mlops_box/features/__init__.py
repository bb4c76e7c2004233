"""Feature views and the point-in-time join."""
