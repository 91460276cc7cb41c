//! Words that every part of a fabric shares: ids, digests, units, capabilities, limits, manifests.
//! Knows no clock, no socket, no disk, no runtime.

mod address;
mod asset;
mod asset_facts;
mod capability;
mod constraints;
mod digest;
mod guest_path;
mod key;
mod lease;
mod limits;
mod manifest;
mod name;
mod region_scope;
mod replication;
mod route;
mod topic;
mod units;
mod workload;
mod workload_check;

pub use address::{AssetAddress, ParseAddressError};
pub use asset::{
    Amount, AmountOf, AssetId, AssetType, ParseAssetIdError, ParseAssetWordError, Privacy,
};
pub use asset_facts::{
    AssetFacts, ContainerFacts, CpuFacts, DecodeFactsError, FactText, FactTextError, GpuFacts,
    MemoryFacts, NetworkFacts, StorageFacts,
};
pub use capability::{Capability, HostPattern, ParseHostPatternError};
pub use constraints::{Constraints, ConstraintsError, Labels};
pub use digest::{Digest, ParseDigestError};
pub use guest_path::{GuestPath, GuestPathError};
pub use key::{FabricId, NodeId, ParseKeyError, Principal, PublicKey, Signature, VerifyError};
pub use lease::{AssetPolicy, AssetPolicyError, LeaseId, ParseLeaseIdError};
pub use limits::{Limits, LimitsError};
pub use manifest::{
    Manifest, ManifestCapabilities, ManifestComponent, ManifestConsensus, ManifestError,
    ManifestFile,
};
pub use name::{Name, NameError};
pub use region_scope::{Audience, RegionRight, RegionRights, RegionScope, Widening};
pub use replication::{ParseReplicationError, Replication};
pub use route::{Route, RouteError};
pub use topic::{Topic, TopicError};
pub use units::{ByteSize, Millis, ParseUnitError};
pub use workload::{ComponentKind, ComponentSpec, FileMount, RestartPolicy, WorkloadSpec};
pub use workload_check::WorkloadError;
