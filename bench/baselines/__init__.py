"""The plain ways to have a language model in a function, as a person would write them: what ours is compared with."""
