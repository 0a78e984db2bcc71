"""One run: built, trained, recorded, loaded."""
