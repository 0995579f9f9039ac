"Watch models think in latent space: train, record, look."
__version__ = "0.1.0"
