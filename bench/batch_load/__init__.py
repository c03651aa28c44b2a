"""Thousands of documents through bucket, queue and worker, with faults."""
