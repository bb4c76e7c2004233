"""One module a resource: its columns, its words, what Enter opens."""
