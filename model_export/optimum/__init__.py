"""Architectures that we don't build ourselves: optimum's graph, made one that the server takes."""
