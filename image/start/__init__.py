"""What the image does to start quickly: modules in one file, a list of the files that a start needs."""
