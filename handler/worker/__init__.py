"""Events → jobs → results: the function behind queues and plain invokes."""
