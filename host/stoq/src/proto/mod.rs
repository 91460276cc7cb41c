//! The protocol itself, as values and pure functions: no sockets, no clocks, no chance.

mod admission;
mod allowance;
mod backoff;
mod control;
mod frame;
mod greeting;
mod header;
mod hello;
mod meter;
mod pace;
mod relaying;
mod service;
mod survivor;
mod tier;

pub use admission::{Admission, streams_max};
pub use allowance::{Allowance, Rate};
pub use backoff::Backoff;
pub use control::{ControlFrame, CredentialsFrame, RenewalBudget, credentials_message};
pub use frame::{FrameError, PREFIX_BYTES, Versioned, body_bytes, decode, encode};
pub use greeting::{Dialler, GreetError, greet};
pub use header::{
    HEADER_BODY_BYTES_MIN, HeaderError, REPLY_BODY_BYTES_MIN, RefusalCode, StreamHeader,
    StreamRefusal, StreamReply, TraceId, bounded_text,
};
pub use hello::{Agreed, FEATURES, Hello, NegotiateError, PROTOCOL};
pub use meter::{Measured, Meter};
pub use pace::{Bucket, Grant};
pub use relaying::{
    LEG_MAX, RELAY_FRAME_BYTES_MAX, RELAY_VERSION, RelayFrame, RelayRefusal, TAG_BYTES, Tag,
};
pub use service::{Service, ServiceSet};
pub use survivor::{Claim, Seating, Seats, survives};
pub use tier::{Control, Reading, Tier, TierEstimator, TierSettings};
