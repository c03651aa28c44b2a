"""Base and adapter images from package registries alone, for where no image registry can be reached."""
