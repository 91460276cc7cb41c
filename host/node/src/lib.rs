//! A node: the only place where the parts are joined. Knows no terminal.

mod accuser;
mod acme;
mod api;
mod artifact;
mod artifact_room;
mod audit;
mod beacon;
mod bus;
mod checkpoints;
mod clock;
mod compiled;
mod config;
mod cpu;
mod data_dir;
mod duties;
#[cfg(feature = "equivocator")]
mod equivocator;
mod error;
mod executions;
#[cfg(feature = "equivocator")]
mod falsifier;
mod follower;
mod founding;
#[doc(hidden)]
pub mod fuzz;
mod guest_ledger;
mod guest_proofs;
mod head_timer;
mod history;
mod ingress;
mod ingress_tls;
mod instance;
mod listeners;
mod logbook;
mod machine;
mod measuring;
mod memory;
mod mesh;
mod network;
mod node;
mod observer;
mod peers;
mod private_file;
mod proving;
mod remeasuring;
mod replicas;
mod secrets;
mod shared;
mod signer;
mod space;
mod speech;
mod status;
mod stores;
mod volumes;
mod witness;

pub use acme::{
    AcmeConfig, AcmeName, Directory, OpenAcmeError, ParseAcmeNameError, ParseDirectoryError,
};
pub use api::openapi;
pub use audit::{Audit, AuditError, AuditPoint};
pub use config::Config;
pub use consensus::{
    DecodeEntryProofError, ENTRY_PROOF_BYTES_MAX, EntryProof, Handover, ProvenEntry,
    VerifyEntryProofError, read_block,
};
pub use data_dir::DataDir;
pub use discovery::LanError;
pub use error::StartNodeError;
#[cfg(feature = "equivocator")]
pub use falsifier::Lie;
pub use founding::{Founding, FoundingError, Prepared, prepare};
pub use ingress_tls::{CertificateFiles, HttpsCertificate, LoadCertificateError, ServeTlsError};
pub use node::Node;
pub use peers::{
    BootstrapError, CredentialsError, Entrance, JoinError, LanNode, OpenPeersError,
    ParseEntranceError, RemoteNode, nodes_on_lan, remote,
};
pub use proofs::{
    Agreement, DecodeProofError, Difference, EXECUTION_PROOF_BYTES_MAX, ExecutionOrder,
    ExecutionProof, Receipt, SignedReceipt, VerifyExecutionError,
};
