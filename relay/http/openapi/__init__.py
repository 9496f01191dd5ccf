"""The OpenAPI document of every route, and what is made of it: a reference to read, and a Postman collection."""

from relay.http.openapi.serving import endpoints_of

__all__ = ["endpoints_of"]
