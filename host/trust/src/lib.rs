//! TrustChain: secret keys and their files, TLS certificates bound to identities, tickets, and the
//! judgement of peers. Knows no socket and no storage of the ledger: what the ledger says arrives
//! through [`Registry`].

mod certificate;
mod certificate_file;
mod identity;
mod rotation;
mod standing;
mod ticket;

pub use certificate::{
    CERTIFICATE_BYTES_MAX, CERTIFICATE_LIFE_MS, IssueCertificateError, IssuedCertificate,
    PresentedCertificate, ReadCertificateError, Subject,
};
pub use certificate_file::CertificateFileError;
pub use identity::{IdentityError, SecretKey};
pub use rotation::Rotation;
pub use standing::{LoggedCertificate, MemberFact, Refusal, Registry, Standing, judge};
pub use ticket::{ADDRESSES_MAX, ParseTicketError, Ticket};
