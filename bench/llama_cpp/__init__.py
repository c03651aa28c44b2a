"""llama.cpp as the peer to compare with: built, fed with the same checkpoint, judged, timed."""
