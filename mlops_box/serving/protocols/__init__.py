"""What other people's clients speak, as values and bytes: the Open Inference Protocol and Arrow. Sockets are elsewhere."""
