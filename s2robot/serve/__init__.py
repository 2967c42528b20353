"""A policy over a network: the openpi websocket protocol, a server and a client (docs/serve.md)."""
