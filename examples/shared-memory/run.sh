#!/bin/sh
# Four nodes on this machine; guests on two of them add to one number in memory that was leased on the
# ledger. Needs `nexus` in the PATH, or its path in NEXUS, and the guest that `cargo xtask guests`
# builds, or its path in GUEST. Everything is in a new folder and ends with it.
set -eu

nexus=${NEXUS:-nexus}
here=$(cd "$(dirname "$0")" && pwd)
guest=${GUEST:-$here/../../target/guests/shared-memory.wasm}
folder=$(mktemp -d)
port=${PORT:-7411}
pids=

stop() {
    for pid in $pids; do kill -INT "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 1' INT TERM

# 1. Four nodes found a fabric, as in examples/fabric-of-four.
set --
for number in 1 2 3 4; do
    ids=$("$nexus" --data "$folder/$number" node prepare)
    node=$(echo "$ids" | awk '$1 == "node" { print $2 }')
    operator=$(echo "$ids" | awk '$1 == "operator" { print $2 }')
    set -- "$@" --validator "$node@127.0.0.1:$((port + number))" --operator "$operator"
done
"$nexus" fabric found "$folder/fabric.json" "$@"
for number in 1 2 3 4; do
    "$nexus" --data "$folder/$number" up --founding "$folder/fabric.json" \
        --stoq "127.0.0.1:$((port + number))" >"$folder/$number.log" 2>&1 &
    pids="$pids $!"
done
for number in 1 2 3 4; do
    until grep -q 'is up' "$folder/$number.log"; do sleep 0.1; done
done

# 2. The first node's memory may be leased by every member.
"$nexus" --data "$folder/1" asset register memory --privacy public-network
asset=$("$nexus" --data "$folder/1" asset list -o json | sed -n 's/.*"id": *"\(memory-[0-9a-f]*\)".*/\1/p')

# 3. A guest on each node.
cp "$guest" "$folder/shared-memory.wasm"
sed 's|"../../target/guests/shared-memory.wasm"|"shared-memory.wasm"|' "$here/app.toml" >"$folder/app.toml"
"$nexus" --data "$folder/1" deploy "$folder/app.toml"
call() {
    on=$1
    shift
    "$nexus" --data "$folder/$on" invoke tally "$@"
}
for number in 1 2 3 4; do
    until call "$number" end >/dev/null 2>&1; do sleep 0.1; done
done

# 4. The guest on node 1 leases a region, the one on node 2 gets a capability for it.
capability=$(call 1 begin 120 | sed 's/^ok(\(.*\))$/\1/')
echo "node 1 leased a region"
call 2 join "$capability"

# 5. Both add to it at once. Nothing is lost.
call 1 add 500 >"$folder/one" &
one=$!
call 2 add 500 >"$folder/two"
wait "$one"
echo "node 1 counts $(call 1 sum)"
echo "node 2 counts $(call 2 sum)"

# 6. The region ends with the lease, and the memory is free again.
call 1 end >/dev/null
until "$nexus" --data "$folder/2" asset show "$asset" -o json | grep -q '"leased": *0'; do sleep 0.1; done
echo "node 2 says: $(call 2 sum)"
