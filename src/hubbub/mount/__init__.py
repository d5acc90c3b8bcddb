"""A hub as a part of another application: requests come by ASGI, from the server that the application runs under."""
