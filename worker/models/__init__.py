"""Models: a name or a file -> a PyTorch module, and what its answers mean.

loader      the one way in: catalog (torchvision's models), weights (downloaded once), checkpoint/ (one's own)
info        a model as everything but its engine sees it
overrides   what a user says of it instead: labels, hash, preprocessing
foreign     files that are no model which can be run here, and the next step
"""
