"""`s2robot pretrain`: an encoder from frames, by masked autoencoding."""
