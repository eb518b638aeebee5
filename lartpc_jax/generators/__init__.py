"""Generators of images: what they are conditioned on, what they diffuse, how stages follow each other."""
