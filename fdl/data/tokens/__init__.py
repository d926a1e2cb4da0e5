"""Texts as tokens: vocabularies, corpora, sentences, windows of a token file."""
