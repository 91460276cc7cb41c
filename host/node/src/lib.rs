//! A node: the only place where the parts are joined. Knows no terminal.

mod api;
mod artifact;
mod artifact_room;
mod audit;
mod bus;
mod checkpoints;
mod clock;
mod compiled;
mod config;
mod data_dir;
mod error;
mod follower;
mod head_timer;
mod ingress;
mod ingress_tls;
mod instance;
mod listeners;
mod logbook;
mod machine;
mod node;
mod observer;
mod peers;
mod replicas;
mod secrets;
mod shared;
mod signer;
mod status;
mod stores;

pub use api::openapi;
pub use audit::{Audit, AuditError, AuditPoint};
pub use config::Config;
pub use consensus::read_block;
pub use data_dir::DataDir;
pub use error::StartNodeError;
pub use ingress_tls::{CertificateFiles, LoadCertificateError};
pub use node::Node;
pub use peers::{
    BootstrapError, CredentialsError, Entrance, JoinError, OpenPeersError, ParseEntranceError,
    RemoteNode, remote,
};
