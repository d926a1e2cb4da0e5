"""Where and how a population's members execute."""
