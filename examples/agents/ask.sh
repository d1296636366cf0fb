#!/bin/sh
# Asks the bottle's supervisor for a host, as an agent does by its MCP client.
# usage: ask HOST REASON
curl -sS http://127.0.0.1:4183/mcp \
    -H "Authorization: Bearer $BOTTLE_PASS" \
    -H "Content-Type: application/json" -H "Accept: application/json, text/event-stream" \
    -d '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "request_egress",
        "arguments": {"host": "'"$1"'", "reason": "'"$2"'"}}}'
