#!/bin/sh
# Four nodes on this machine, one of which lies about what it ran: the others outvote it, and what it
# signed is refuted. Needs `nexus` in the PATH, or its path in NEXUS, and the program of a node that
# lies in FALSIFIER: `cargo build --package nexus --example falsifier` makes it, no release has it.
# Everything is in a new folder and ends with it.
set -eu

nexus=${NEXUS:-nexus}
falsifier=${FALSIFIER:-target/debug/examples/falsifier}
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
port=${PORT:-7411}
pids=
liar_pid=

stop() {
    for pid in $pids; do kill -INT "$pid" 2>/dev/null || true; done
    # It is made for tests, which kill it.
    for pid in $liar_pid; do kill -KILL "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 1' INT TERM

# 1. Four nodes found a fabric. The last one is no `nexus`: it changes the last digit of its results.
set --
for number in 1 2 3 4; do
    ids=$("$nexus" --data "$folder/$number" node prepare)
    node=$(echo "$ids" | awk '$1 == "node" { print $2 }')
    operator=$(echo "$ids" | awk '$1 == "operator" { print $2 }')
    set -- "$@" --validator "$node@127.0.0.1:$((port + number))" --operator "$operator"
done
liar=$node
"$nexus" fabric found "$folder/fabric.json" "$@"
for number in 1 2 3 4; do
    address=127.0.0.1:$((port + number))
    if [ "$number" = 4 ]; then
        "$falsifier" "$folder/4" "$address" "$folder/fabric.json" output >"$folder/4.log" 2>&1 &
        liar_pid=$!
    else
        "$nexus" --data "$folder/$number" up --founding "$folder/fabric.json" \
            --stoq "$address" >"$folder/$number.log" 2>&1 &
        pids="$pids $!"
    fi
    eval "pid_$number=$!"
done
for number in 1 2 3 4; do
    until "$nexus" --data "$folder/$number" node status >"$folder/said" 2>&1; do
        if ! eval "kill -0 \$pid_$number" 2>/dev/null; then
            cat "$folder/$number.log" >&2
            exit 1
        fi
        sleep 0.1
    done
done

# 2. A component whose calls can be repeated. Its manifest asks for two of three.
"$nexus" --data "$folder/1" deploy "$here/app.toml"

# 3. Call it until chance draws the liar, too. The result is what two others agree on.
below=10000
until "$nexus" --data "$folder/1" invoke primes primes "$below" --receipt "$folder/two.receipt" \
    >"$folder/result" 2>"$folder/said" && grep -q "outvoted: $liar" "$folder/said"; do
    below=$((below + 1))
done
echo "primes below $below: $(cat "$folder/result")"
cat "$folder/said"

# 4. The receipts stand by themselves: this checks them with all that a node needs not be trusted for.
"$nexus" --data "$folder/2" receipt verify "$folder/two.receipt"

# 5. Believe one node, and sooner or later it is the liar. What it signed is refuted by others.
until "$nexus" --data "$folder/1" invoke primes primes "$below" --replicate one \
    --receipt "$folder/one.receipt" >"$folder/result" 2>"$folder/said" &&
    grep -q "agree: $liar" "$folder/said"; do
    below=$((below + 1))
done
echo "node 4 alone says of primes below $below: $(cat "$folder/result")"
if "$nexus" --data "$folder/1" receipt challenge "$folder/one.receipt"; then
    echo "nobody found it out" >&2
    exit 1
fi
