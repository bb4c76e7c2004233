"""Edge bundles: one signed file that carries a model to a device without internet."""
