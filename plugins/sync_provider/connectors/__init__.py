"""One protocol, one package per family of systems. Third-party errors are translated here, once."""
