"""What the box does with devices: bundles out, records back."""
