"""What is pushed over the views: details and help."""
