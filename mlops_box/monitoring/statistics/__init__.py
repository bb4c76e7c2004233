"""One statistic a file; each takes plain counts and says where it comes from."""
