"""What runs on a device: the standard library only, until the model itself runs."""
