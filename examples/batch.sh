#!/usr/bin/env bash
# Draw a picture for every line of a file: examples/batch.sh PROMPTS FOLDER [more options for `layercli generate`]
#
# A line is "foreground + foreground / background"; lines that are empty or begin with # are passed over.
# Pictures that are there already are kept, so the same command goes on after an interruption (a file is there
# whole or not at all). A line that fails does not stop the others; the exit code is 0 only if none failed.
set -uo pipefail

if [ $# -lt 2 ]; then
  echo "Usage: $0 PROMPTS FOLDER [options]" >&2
  exit 2
fi
prompts=$1 folder=$2
shift 2
[ -r "$prompts" ] || { echo "There is no file $prompts." >&2; exit 2; }
mkdir -p "$folder" || exit 2

trim() { sed 's/^[[:space:]]*//; s/[[:space:]]*$//' <<<"$1"; }

failed=0 number=0
while IFS= read -r line || [ -n "$line" ]; do
  line=$(trim "$line")
  case $line in "" | "#"*) continue ;; esac
  number=$((number + 1))
  file=$(printf '%s/%03d.psd' "$folder" "$number")
  if [ -e "$file" ]; then
    echo "$file is there already" >&2
    continue
  fi
  words=()
  IFS=+ read -ra foregrounds <<<"${line%/*}"
  for foreground in "${foregrounds[@]}"; do
    words+=(--fg "$(trim "$foreground")")
  done
  case $line in */*) words+=(--bg "$(trim "${line##*/}")") ;; esac
  layercli generate "${words[@]}" -o "$file" "$@" </dev/null
  code=$?
  if [ "$code" -eq 130 ]; then
    exit 130
  elif [ "$code" -ne 0 ]; then
    echo "Line $number failed: $line" >&2
    failed=$((failed + 1))
  fi
done <"$prompts"

if [ "$failed" -ne 0 ]; then
  echo "$failed of $number pictures failed." >&2
  exit 1
fi
