"""Episodes on disk and the training windows cut from them."""
