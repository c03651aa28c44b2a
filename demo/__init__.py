"""The demo model: a small Llama, its corpus, its training and its evaluation, all made here."""
