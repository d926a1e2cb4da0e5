"""Whether a machine is fit to train, before it is paid for: what is measured of it, and what is judged."""
