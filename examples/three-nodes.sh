#!/bin/sh
# Three agents on this machine, as three hosts would run them. ^C stops them.
#
#   examples/three-nodes.sh                 on ports 4000, 4001 and 4002
#   PORT=5000 HOOK=examples/hooks/leader-changed.sh examples/three-nodes.sh
set -eu

cd "$(dirname "$0")/.."
PORT=${PORT:-4000}
HOOK=${HOOK:-}
AGENT=${AGENT:-bin/agent}

if [ ! -x "$AGENT" ]; then
	echo "building $AGENT"
	CGO_ENABLED=0 go build -trimpath -o "$AGENT" ./cmd/agent
fi

seeds=localhost:$PORT,localhost:$((PORT + 1)),localhost:$((PORT + 2))
pids=
stop() {
	trap '' HUP INT TERM EXIT
	for pid in $pids; do kill -TERM "$pid" 2>/dev/null || true; done
	wait
}
trap 'exit 0' HUP INT TERM
trap stop EXIT

for i in 0 1 2; do
	port=$((PORT + i))
	# A session of its own keeps the terminal's ^C from the agent. Otherwise the signal
	# that stop sends would be the second one, which ends the agent at once.
	setsid "$AGENT" --bind-port "$port" --advertise-addr "localhost:$port" --seeds "$seeds" ${HOOK:+--hook "$HOOK"} &
	pids="$pids $!"
	echo "agent localhost:$port has pid $!"
done

cat <<END

Look at http://localhost:$((PORT + 2))/ in a browser, or ask any of them, from another terminal:
  curl -s localhost:$((PORT + 2))/diag/
  curl -s localhost:$PORT/leader
  $AGENT watch --addr localhost:$((PORT + 1))
Then kill the leader:
  kill -9 PID      a crash
  kill -TERM PID   a planned hand-over

END
wait
