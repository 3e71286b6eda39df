"""A scheme for each weight that meets a size or an accuracy: what is damaged, which mixes to try, and their measure."""
