"""The web page: what a listener sees of the service."""
