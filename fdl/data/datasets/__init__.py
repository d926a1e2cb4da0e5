"""Data sets: each declared beside the function that makes it, all of them in `catalog.DATA_SETS`."""
