//! TrustChain: secret keys and their files, TLS certificates bound to identities, tickets, capabilities
//! for leases, and the judgement of peers. Knows no socket and no storage of the ledger: what the ledger says arrives
//! through [`Registry`].

mod capability;
mod capability_bytes;
#[cfg(test)]
mod capability_tests;
mod certificate;
mod certificate_file;
mod identity;
mod rotation;
mod standing;
mod ticket;
mod volume_capability;

pub use capability::{
    CapabilityFacts, CapabilityRefusal, CapabilitySubject, LeaseCapability, LeaseFact, NarrowError,
};
pub use capability_bytes::DecodeCapabilityError;
pub use certificate::{
    CERTIFICATE_BYTES_MAX, CERTIFICATE_LIFE_MS, IssueCertificateError, IssuedCertificate,
    PresentedCertificate, ReadCertificateError, Subject,
};
pub use certificate_file::CertificateFileError;
pub use identity::{IdentityError, SecretKey};
pub use rotation::Rotation;
pub use standing::{LoggedCertificate, MemberFact, Refusal, Registry, Standing, judge};
pub use ticket::{ADDRESSES_MAX, ParseTicketError, Ticket};
pub use volume_capability::{ShareVolumeError, VolumeCapability};
