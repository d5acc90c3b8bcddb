"""The HTTP side: logging in, the page, and what a load balancer asks."""
