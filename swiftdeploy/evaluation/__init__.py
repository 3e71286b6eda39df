"""Labelled images and what models answer to them: files to pixels, answers to statistics. It knows no bundle."""
