"""The HTTP(S) proxy of a bottle: what may leave it, with which credentials, and what not."""
