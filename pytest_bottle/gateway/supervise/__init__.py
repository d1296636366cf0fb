"""The supervisor of a bottle: an MCP server by which its agent asks for what it was denied."""
