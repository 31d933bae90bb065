#!/usr/bin/env bash
# The slow tests as CI runs them: real guests where Debian's packages can be had, without them elsewhere. Fails when a test fails.
set -uo pipefail
cd "$(dirname "$0")/.."

npm run --silent guests
status=$?
case $status in
  0) echo "slow: the real guests are ready" ;;
  3) echo "slow: some real guests cannot be had on this machine (see above): their tests are skipped" ;;
  *)
    echo "slow: 'npm run guests' failed with status $status" >&2
    exit "$status"
    ;;
esac
exec npm run --silent test:slow
