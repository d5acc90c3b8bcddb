"""What a server takes and says, for machines: AsyncAPI, OpenAPI, types for TypeScript and Python."""
