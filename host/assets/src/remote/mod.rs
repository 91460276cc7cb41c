//! What other nodes keep for leases: frames, the end that asks, the end that answers. Knows no session: bytes
//! come and go over any stream, and who may have what is asked of the caller.

mod client;
mod frames;
mod link;
mod member;
mod protocol;
mod server;
mod wire;

pub use client::{AskError, AskRegionError, OpenRemoteError, Remote, RemoteRegion};
pub use link::{answer_link, ask_link, read_link_request};
pub use member::{RemoteMember, serve_member};
pub use protocol::{AnswerOf, MemberProtocol, MemberRequest, Protocol, RegionProtocol};
pub use server::{
    ServeRegionError, read_hello, refuse_stream, serve_access, serve_operations, serve_region,
};
pub use wire::{
    Answer, CAPABILITY_BYTES_MAX, DecodeRegionFrameError, FRAME_BYTES_MAX, Hello, MemberAnswer,
    Opened, Refusal, Welcome, decode_answer, decode_hello, decode_link_answer, decode_link_request,
    decode_member_answer, decode_member_request, decode_request, decode_welcome,
    encode_region_frame,
};

/// Requests of one stream that are not answered yet: each holds at most one frame on either end, so
/// a megabyte in all, and more would not make a region faster.
pub const IN_FLIGHT_MAX: usize = 16;
