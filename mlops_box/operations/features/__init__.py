"""What people do with features: define, push, look up, materialise."""
