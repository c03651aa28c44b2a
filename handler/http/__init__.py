"""Requests in, answers out: routes, the gate in front of them, the server around them."""
