"""Readers: files of many formats as arrays and rows; a fault of a file is told in one line."""
