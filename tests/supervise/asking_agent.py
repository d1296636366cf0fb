"""Runs in a bottle: asks its supervisor over MCP, with what every Python has.

usage: asking_agent.py TOOL ARGUMENTS, the latter as JSON; prints `{"error": ..., "text": ...}`.
"""

import json
import os
import sys
import urllib.request
from typing import Any


def post(method: str, params: Any) -> Any:
    request = urllib.request.Request(
        "http://127.0.0.1:4183/mcp",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode(),
        {
            "Authorization": f"Bearer {os.environ['BOTTLE_PASS']}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2025-06-18",
        },
    )
    with urllib.request.urlopen(request, timeout=80) as answer:
        events = answer.read().decode().splitlines()
    return json.loads([line for line in events if line.startswith("data: ")][-1][6:])["result"]


result = post("tools/call", {"name": sys.argv[1], "arguments": json.loads(sys.argv[2])})
text = "".join(part["text"] for part in result["content"])
print(json.dumps({"error": result["isError"], "text": text}))
