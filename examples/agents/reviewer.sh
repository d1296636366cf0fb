#!/bin/sh
# Stands for a coding agent: it reads its prompt and its skill as one does, and searches the
# workspace where an agent would ask a model.
set -eu

[ "$1" = --system-prompt-file ]
test -s "$2"
echo "task: $3"
grep -F -n -f ~/.claude/skills/sql-audit/patterns.txt -- *.py /dev/null
