"""Programs planned ahead of the hardware: compiled for TPUs that are not there, and never run."""
