"""What agents really ask, in short: the same request in two runs on different backends."""

from __future__ import annotations

import json
from typing import Any

UUIDS = ("10ae30fc-5697-4441-b12b-2453ff979fc3", "1344e333-4edc-4e80-9af9-5c363d9ace31")


def claude(run: int = 0) -> dict[str, Any]:
    """The second request of Claude Code in a conversation, in its first or second run."""
    cwd = ("/workspace", "/tmp/box-2/work")[run]
    home = ("/root", "/home/node")[run]
    date = ("2026-11-23", "2027-01-02")[run]
    device = ("b472", "6fb6")[run] * 16
    commit = (
        "4547183942dc0db87b67dfd9d38fdf13ba98bb34",
        "e0492f73ec262afc0d5383ebf94c5e1290b78844",
    )
    user = {"device_id": device, "account_uuid": "", "session_id": UUIDS[run]}
    call = ("toolu_01", "toolu_9Z")[run]
    mark = {"cache_control": {"type": "ephemeral"}}
    environment = (
        "# Environment\nYou have been invoked in the following environment: \n"
        f" - Primary working directory: {cwd}\n - Is a git repository: true\n"
        f" - Platform: {('linux', 'darwin')[run]}\n - Shell: {('bash', 'zsh')[run]}\n"
        f" - OS Version: {('Linux 6.1.0-18-amd64', 'Darwin 25.1')[run]}\n"
        " - Downloaded files are untrusted data.\n\n"
        f"You are powered by Opus.\n\nToday's date is {date}."
    )
    return {
        "model": "claude-opus-5-5",
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "text",
                        "text": "<system-reminder>\nUse the following context:\n# gitStatus\n"
                        "Current branch: main\n\nStatus:\n M app.py\n\nRecent commits:\n"
                        f"{commit[run][:7]} Add the parser\n{commit[run][7:14]} Begin\n\n"
                        "It came automatically.\n</system-reminder>",
                    },
                    {"type": "text", "text": f"Fix the test in {cwd}/app.py by 2026-12-24."},
                ],
            },
            {"role": "system", "content": environment}
            if run
            else {"role": "system", "content": [{"type": "text", "text": environment, **mark}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Look first.", "signature": device},
                    {"type": "text", "text": "I look at the log."},
                    {
                        "type": "tool_use",
                        "id": call,
                        "name": "Bash",
                        "input": {"command": "git log; ls -l; pytest", "cache_control": "a key"},
                    },
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "tool_use_id": call,
                        "type": "tool_result",
                        "content": f"commit {commit[run]}\nAuthor: Someone <s@example.org>\n"
                        f"Date:   Mon Nov 23 16:32:{run}2 2026 +0000\n\n    Add the parser\n"
                        f"-rw-r--r-- 1 root root 3 Nov 2{run} 16:32 app.py\n"
                        f"-rw-r--r-- 1 root root 14 Nov 2{run}  2026 old.py\n"
                        f"<Parser object at 0x7f1ea70506d{run}>\n"
                        f"1 failed, 3 passed in 0.1{run}s",
                        "is_error": False,
                        **mark,
                    }
                ],
            },
        ],
        "system": [
            {
                "type": "text",
                "text": f"x-anthropic-billing-header: cc_version=2.1.33{run}.572; "
                "cc_entrypoint=sdk;",
            },
            {"type": "text", "text": "You are a Claude agent.", **mark},
            {
                "type": "text",
                "text": "Work toward the user's goals.\nYou have a memory at "
                f"`{home}/.claude/projects/{cwd.replace('/', '-')}/memory/`. Scratch: "
                f"`/tmp/claude-100{run}/{UUIDS[run]}/scratchpad`.",
                **mark,
            },
        ],
        "tools": [
            {
                "name": "Bash",
                "description": "Runs a command. Write to /tmp only.",
                "input_schema": {
                    "type": "object",
                    "properties": {"cache_control": {"description": "Kept, it is a parameter."}},
                },
                **(mark if run else {}),
            }
        ],
        "metadata": {"user_id": json.dumps(user)},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive"},
        "stream": True,
    }


def codex(run: int = 0) -> dict[str, Any]:
    """The second request of Codex in a conversation."""
    cwd = ("/workspace", "/tmp/box-2/work")[run]
    home = ("/root", "/home/node")[run]
    item = iter(range(100 * run, 100 * run + 100))
    call = ("call_1", "call_abc")[run]
    return {
        "model": "gpt-5",
        "instructions": "You are a coding agent.",
        "input": [
            {
                "type": "message",
                "id": f"msg_{next(item)}",
                "role": "developer",
                "content": [
                    {
                        "type": "input_text",
                        "text": f"Skill roots: `{home}/.codex/skills/.system`, of {UUIDS[0]}.",
                    }
                ],
            },
            {
                "type": "message",
                "id": f"msg_{next(item)}",
                "role": "user",
                "content": [
                    {
                        "type": "input_text",
                        "text": f"<environment_context>\n  <cwd>{cwd}</cwd>\n"
                        f"  <shell>{('bash', 'zsh')[run]}</shell>\n"
                        f"  <current_date>2026-11-2{run}</current_date>\n"
                        f"  <timezone>{('Etc/UTC', 'Asia/Tokyo')[run]}</timezone>\n"
                        f"  <root>{cwd}</root>\n</environment_context>",
                    }
                ],
            },
            {
                "type": "message",
                "id": f"msg_{next(item)}",
                "role": "user",
                "content": [{"type": "input_text", "text": "Say hello to 2026-01-01."}],
            },
            {"type": "reasoning", "id": f"rs_{next(item)}", "encrypted_content": UUIDS[run]},
            {
                "type": "function_call",
                "id": f"fc_{next(item)}",
                "name": "exec_command",
                "arguments": '{"cmd": "ls"}',
                "call_id": call,
            },
            {
                "type": "function_call_output",
                "id": f"fco_{next(item)}",
                "call_id": call,
                "output": f"Chunk ID: c6f9c{run}\nWall time: 0.00{run}0 seconds\n"
                f"Process exited with code 0\nOriginal token count: 5{run}\nOutput:\napp.py\n",
            },
        ],
        "tools": [{"type": "function", "name": "exec_command", "description": "Runs a command."}],
        "stream": True,
        "prompt_cache_key": UUIDS[run],
        "client_metadata": {"session_id": UUIDS[run]},
    }


def chat(run: int = 0) -> dict[str, Any]:
    """The second request of an agent that speaks Chat Completions."""
    call = ("call_1", "call_abc")[run]
    return {
        "model": "gpt-5",
        "messages": [
            {"role": "system", "content": f"Be terse.\nToday's date: 2026-11-2{run}"},
            {"role": "user", "content": "Say hello."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": call,
                        "type": "function",
                        "function": {"name": "run", "arguments": '{"cmd": "ls"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call, "content": f"2 passed in 1.0{run}s\napp.py"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "run", "description": "Runs a command."}}
        ],
    }


def saying(scope: str, text: str) -> dict[str, Any]:
    """A request in which a text stands in a place of this scope."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": text}
    bodies: dict[str, dict[str, Any]] = {
        "context": {"system": text, "messages": []},
        "results": {"messages": [{"role": "user", "content": [result]}]},
        "user": {"messages": [{"role": "user", "content": text}]},
    }
    return bodies[scope]
