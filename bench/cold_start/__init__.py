"""From exec to the first token on a disk whose chunks are fetched when they are touched, as Lambda's are."""
