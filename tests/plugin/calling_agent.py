"""An agent in a few lines, for guests: asks its model what it is told, and says what it answers.

usage: calling_agent.py TASK

Every line of the task is a request. The bytes of the answers are appended to `heard`.
"""

import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

for task in sys.argv[1].splitlines():
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": task}],
    }
    request = urllib.request.Request(
        os.environ["MODEL_URL"] + "/v1/messages",
        json.dumps(body).encode(),
        {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "authorization": "Bearer " + os.environ["MODEL_TOKEN"],
        },
    )
    try:
        with urllib.request.urlopen(request) as response:
            heard = response.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"the model answered {error.code}: {error.read().decode()}")
    with pathlib.Path("heard").open("ab") as file:
        file.write(heard)
    for line in heard.decode().splitlines():
        if line.startswith("data:"):
            print(json.loads(line[5:]).get("delta", {}).get("text", ""), end="")
print()
