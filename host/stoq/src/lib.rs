//! STOQ, the protocol between nodes: sessions, streams, services and tiers on QUIC. Knows neither
//! the ledger nor workloads, nor what certificates mean or frames carry: who is a peer is asked of
//! a [`PeerAuthority`].

mod authority;
pub mod bounds;
mod circuit;
mod close;
mod config;
mod congestion;
mod control;
mod credentials;
mod dial;
mod early;
mod endpoint;
mod event;
mod gate;
mod inbound;
mod lane;
mod link;
mod listen;
mod maintain;
pub mod proto;
mod reach;
mod read;
mod relaying;
mod session;
mod socket;
mod table;
mod tickets;
mod tiering;
mod tls;
mod transport;
mod underlay;
mod write;

pub use authority::{Occasion, Peer, PeerAuthority, PeerRefusal};
pub use circuit::Relayed;
pub use close::{CloseReason, Closer};
pub use config::{BindError, Config};
pub use credentials::{Credentials, CredentialsError};
pub use dial::{DialError, FailedAttempt, Target};
pub use early::{Answer, AskError, Question};
pub use endpoint::Endpoint;
pub use event::SessionEvent;
pub use gate::FirstPackets;
pub use inbound::{InboundDatagram, InboundStream};
pub use maintain::Maintained;
pub use proto::{
    Control, Measured, RefusalCode, Service, ServiceSet, StreamHeader, StreamRefusal, Tier,
    TierSettings, TraceId,
};
pub use read::{ReadError, RecvStream};
pub use relaying::FailedRelay;
pub use session::{Direction, OpenError, OpenOptions, SendDatagramError, Session, SessionInfo};
pub use write::{SendStream, WriteError};

pub use quinn::udp::{RecvMeta, Transmit};
pub use quinn::{AsyncUdpSocket, UdpPoller};
pub use rustls::pki_types::{CertificateDer, PrivateKeyDer};
