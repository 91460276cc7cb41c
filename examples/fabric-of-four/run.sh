#!/bin/sh
# Four validators on this machine: they found a fabric, decide something, and go on without one.
# Needs `nexus` in the PATH, or its path in NEXUS. Everything is in a new folder and ends with it.
set -eu

nexus=${NEXUS:-nexus}
folder=$(mktemp -d)
port=${PORT:-7401}
pids=

stop() {
    for pid in $pids; do kill -INT "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 1' INT TERM

# 1. Each machine makes its keys and shows its ids.
set --
for number in 1 2 3 4; do
    ids=$("$nexus" --data "$folder/$number" node prepare)
    node=$(echo "$ids" | awk '$1 == "node" { print $2 }')
    operator=$(echo "$ids" | awk '$1 == "operator" { print $2 }')
    set -- "$@" --validator "$node@127.0.0.1:$((port + number))" --operator "$operator"
done

# 2. The founding is written down once.
"$nexus" fabric found "$folder/fabric.json" "$@"

# 3. Each machine starts with it. The first block is final once three of them are up.
for number in 1 2 3 4; do
    "$nexus" --data "$folder/$number" up --founding "$folder/fabric.json" \
        --stoq "127.0.0.1:$((port + number))" >"$folder/$number.log" 2>&1 &
    pids="$pids $!"
    eval "pid_$number=$!"
done
for number in 1 2 3 4; do
    until grep -q 'is up' "$folder/$number.log"; do sleep 0.1; done
done
"$nexus" --data "$folder/1" fabric members

# 4. A fact that one node is told is on the ledger of all.
viewer=abababababababababababababababababababababababababababababababab
"$nexus" --data "$folder/2" role grant viewer "$viewer"
for number in 1 2 3 4; do
    until "$nexus" --data "$folder/$number" role list | grep -q "$viewer"; do sleep 0.1; done
    echo "node $number has it"
done

# 5. One is killed; the others go on.
eval "kill -KILL \$pid_4"
echo "node 4 was killed"
"$nexus" --data "$folder/1" role revoke "$viewer"
"$nexus" --data "$folder/3" node status
