//! The fixed bounds of every node and instance, each with its reason. Limits that a manifest can
//! set are in `types::Limits`; these cannot be set.

use std::time::Duration;

/// Most pool slots of a node. Each live slot holds about five memory mappings and Linux allows
/// 65,530 per process (`vm.max_map_count`): pooling fails near 12,500 live instances.
pub const INSTANCES_MAX: u32 = 10_000;

/// Largest component binary: every byte of it is validated before a node admits it.
pub const COMPONENT_BYTES_MAX: usize = 128 << 20;

/// Most imports, and most exported functions, that an inspection lists.
pub const INTERFACE_ITEMS_MAX: usize = 2_000;

/// Longest WIT text of one signature: a few shared types can expand to megabytes.
pub const SIGNATURE_BYTES_MAX: usize = 4_096;

/// Stack for wasm frames of one instance: what wasmtime uses by default, deep enough for
/// interpreters compiled to wasm.
pub const WASM_STACK_BYTES: usize = 512 << 10;

/// Stack of one instance's fiber. What exceeds [`WASM_STACK_BYTES`] is for host functions.
pub const ASYNC_STACK_BYTES: usize = 2 << 20;

/// Most bytes that one host call, or the result of one invocation, copies out of a guest. Lists
/// of small values grow forty times when they are lifted, so this is what bounds host memory.
pub const HOSTCALL_BYTES_MAX: usize = 16 << 20;

/// Most host resources (streams, files, requests, pollables) of one instance at once.
pub const RESOURCES_MAX: usize = 4_096;

/// Most component-model handles of one instance at once, including those to its own resources.
pub const HANDLES_MAX: usize = 16_384;

/// Most bytes of random data per host call.
pub const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Most core modules instantiated inside one component.
pub const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 64;

/// Most linear memories inside one component; each takes one slot of the pool.
pub const MEMORIES_PER_COMPONENT_MAX: u32 = 16;

/// Most tables inside one component.
pub const TABLES_PER_COMPONENT_MAX: u32 = 64;

/// Tables that the pool reserves per slot; a component with more takes more slots.
pub const TABLES_PER_SLOT: u32 = 4;

/// Bytes of a linear memory that stay resident when its slot is reused, where the kernel can say
/// which pages were touched (`PAGEMAP_SCAN`, Linux 6.7): spares a request most page faults.
pub const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// Slots that keep their pages while unused, so at most this many times [`KEEP_RESIDENT_BYTES`].
pub const WARM_SLOTS_MAX: u32 = 100;

/// Frames of a wasm backtrace in an error; calls that the compiler inlined count as frames.
pub const BACKTRACE_FRAMES_MAX: usize = 20;

/// Longest function name, and longest file name, of a frame: the guest chooses both.
pub const FRAME_NAME_BYTES_MAX: usize = 256;

/// Most bytes of debug sections that are kept to find source lines; a component with more has
/// function names only. They stay in memory, and the index into them is made anew for each of
/// wasmtime's frames when a call traps.
pub const DEBUG_INFO_BYTES_MAX: usize = 4 << 20;

/// Length of one time slice: how often a computing guest yields and its limits are looked at.
pub const TICK: Duration = Duration::from_millis(1);

/// Cpu time, after its first slice, that one call may take from the node's ordinary threads; a call
/// that needs more goes on on those of low priority. Most requests need less than one slice.
pub const FOREGROUND_CPU_MAX: Duration = Duration::from_millis(2);

/// How long the ticker goes on after the last guest stopped computing, so that a node under
/// steady load does not wake a thread for every request.
pub const TICKER_LINGER: Duration = Duration::from_millis(50);

/// Longest trial instantiation when a replica starts.
pub const TRIAL_TIME_MAX: Duration = Duration::from_secs(10);

/// Cpu time that an instance below its share can save up, as wall time at that share.
pub const CPU_CREDIT: Duration = Duration::from_millis(10);

/// Percentage of the pool that one replica can hold, so that a neighbour always finds a slot.
pub const POOL_PERCENT_PER_REPLICA: u32 = 50;

/// Instances that one replica keeps between requests: what a busy machine runs at once. More would
/// hold memory for rare peaks.
pub const KEPT_INSTANCES_MAX: usize = 64;

/// How long an instance is kept without a request: bridges the lulls of a busy component, and a
/// quiet one soon holds nothing.
pub const KEPT_TIME_MAX: Duration = Duration::from_secs(2);

/// Compilations at once; more wait. Each can use several hundred megabytes and every core.
pub const COMPILES_AT_ONCE_MAX: usize = 2;

/// Longest WAVE text of one argument.
pub const WAVE_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of a WAVE argument: its parser is recursive.
pub const WAVE_DEPTH_MAX: usize = 256;

/// Longest wait for an outgoing connection, name lookup and TLS handshake included.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Most bytes that a guest of WASI 0.2 writes to a body at once.
pub const BODY_CHUNK_BYTES_MAX: usize = 64 << 10;

/// Writes to a body that wait for its reader; 1 MiB of the largest. With one alone, a guest would
/// stop after each write until it was sent: a short response would take two polls and two packets.
pub const BODY_CHUNKS_MAX: usize = 16;

/// Longest wait for the first byte of an outgoing request's response, and between two chunks.
pub const RESPONSE_TIME_MAX: Duration = Duration::from_secs(60);

/// Longest name lookup for a socket.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the addresses of a looked-up name stay granted: as long as resolvers commonly keep
/// an answer. A guest that connects later looks the name up again.
pub const LOOKUP_KEPT: Duration = Duration::from_secs(300);

/// Most names whose addresses one instance's sockets remember; the oldest go first.
pub const LOOKUP_NAMES_MAX: usize = 256;

/// Most addresses that are remembered of one name; large providers answer with a few dozen.
pub const LOOKUP_ADDRESSES_MAX: usize = 64;

/// Largest message, content type and metadata included: queues hold many. Larger things belong in
/// a store, and the message says where.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Most bytes of messages that one instance holds at once, received and being written.
pub const MESSAGE_BYTES_HELD_MAX: usize = 4 << 20;

/// Most denials of one call that are reported: a guest in a loop must not drown its own log.
pub const DENIALS_REPORTED_MAX: u32 = 32;
/// Fuel of one call of a deterministic component that has no `limits.fuel`: about ten seconds of
/// computing, so that such a call ends by what it did and not by how fast the machine was.
pub const DETERMINISTIC_FUEL: u64 = 10_000_000_000;

/// Largest checkpoint of a stateful library: each call writes one, and it stays below what one
/// host call may copy ([`HOSTCALL_BYTES_MAX`]).
pub const CHECKPOINT_BYTES_MAX: usize = 8 << 20;

/// Longest `checkpoint` and longest `restore` of a stateful library, where `limits.wall_time` is
/// not less.
pub const CHECKPOINT_TIME_MAX: Duration = Duration::from_secs(10);
/// Store operations of one replica at once; more wait. Each takes a thread that may block.
pub const STORE_CALLS_AT_ONCE_MAX: usize = 16;

/// Contents of objects that the instances of one replica have open at once: each is a file
/// descriptor, which the node's process has thousands of.
pub const OPEN_CONTENTS_MAX: usize = 64;

/// Longest key of a swap that a guest prepares: it may hold one per resource, and no store has
/// longer keys.
pub const CAS_KEY_BYTES_MAX: usize = 1_024;

/// Most bytes of a content between a guest and the disk.
pub const BLOB_PIECE_BYTES_MAX: usize = 64 << 10;

/// Most names that one call of a listing returns.
pub const STORE_NAMES_MAX: usize = 1_000;

/// Longest text that an error carries from a library or a guest.
pub const REASON_BYTES_MAX: usize = 1_024;

/// Changes of records of one replica that wait for finality at once: each is a task and a signed
/// transaction, and a node signs one after the other.
pub const SUBMISSIONS_AT_ONCE_MAX: usize = 32;

/// Proofs that the guests of one replica have checked at once; more wait. The computing is not on
/// their account.
pub const VERIFICATIONS_AT_ONCE_MAX: usize = 1;

/// Largest proof that a guest gets or has checked: a full block with its entry fits, and it stays
/// below what one host call may copy ([`HOSTCALL_BYTES_MAX`]).
pub const PROOF_BYTES_MAX: usize = 8 << 20;

/// Hosts of assets that the guests of one replica ask at once for what they show; more wait. Each
/// reads 33 chunks of its disk for it.
pub const SPACE_REQUESTS_AT_ONCE_MAX: usize = 1;

/// Regions of leased memory that the instances of one replica have open at once: a host takes 32
/// streams of one node, and more replicas than one are to have some.
pub const REGIONS_OPEN_MAX: usize = 16;

/// Budgets of leased processors that the instances of one replica have open at once: each is a lease,
/// of which one holder has a bounded number.
pub const BUDGETS_OPEN_MAX: usize = 16;

/// Calls under leases that the instances of one replica have under way at once: as many as a host runs
/// for one node.
pub const LEASED_CALLS_MAX: usize = 8;

/// Most bytes of the texts of one call under a lease: an order has room for them.
pub const LEASED_CALL_BYTES_MAX: usize = 64 << 10;

/// Links of leased transport that the instances of one replica have open at once: each is a lease, of
/// which one holder has a bounded number.
pub const LINKS_OPEN_MAX: usize = 16;

/// Most bytes of one read or write of a connection over a link.
pub const LINK_PIECE_BYTES_MAX: usize = 64 << 10;

/// Longest text that is looked at as a capability.
pub const CAPABILITY_TEXT_BYTES_MAX: usize = 4 << 10;

/// Volumes that the instances of one replica have open at once: each of fourteen members may be a
/// stream, and holds at most 16 blocks in memory.
pub const VOLUMES_OPEN_MAX: usize = 8;

/// Most bytes of one read or write of a volume: 16 of its blocks.
pub const VOLUME_SPAN_BYTES_MAX: usize = 1 << 20;

/// Longest name of a file of a volume.
pub const VOLUME_NAME_BYTES_MAX: usize = 1_024;

/// Longest text that is looked at as the capability of a volume: one for each of fourteen members.
pub const VOLUME_CAPABILITY_TEXT_BYTES_MAX: usize = 48 << 10;
