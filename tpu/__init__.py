"""Provision, set up, run, resume and tear down Cloud TPU slices. Standard library only; see README.md."""
