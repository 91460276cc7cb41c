//! QUIC's settings, each from a bound.

use std::sync::Arc;

use aws_lc_rs::hmac;
use quinn::{
    EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};

use quinn_proto::HashedConnectionIdGenerator;

use crate::bounds::{
    DATAGRAM_BYTES_MAX, HANDSHAKES_MAX, IDLE_TIME, INCOMING_BYTES_MAX, INCOMING_BYTES_TOTAL,
    KEEP_ALIVE, PACKET_BYTES_FIRST, PACKET_BYTES_MAX, SEND_WINDOW_BYTES, SESSION_WINDOW_BYTES,
    STREAM_WINDOW_BYTES, STREAMS_PER_PEER_FIRST,
};
use crate::congestion::SwitchingFactory;

/// What both ends of a connection use.
pub(crate) fn transport() -> Arc<TransportConfig> {
    Arc::new(common())
}

/// What concerns all connections that come in.
pub(crate) fn server(crypto: Arc<dyn quinn::crypto::ServerConfig>) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(crypto);
    config
        .transport_config(transport())
        .max_incoming(HANDSHAKES_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    config
}

/// What both ends of a relayed connection use: its packets must fit into others.
pub(crate) fn relayed() -> Arc<TransportConfig> {
    let mut config = common();
    config.mtu_discovery_config(None);
    Arc::new(config)
}

fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    // One more, which is about the session itself.
    let streams = VarInt::from_u32(STREAMS_PER_PEER_FIRST + 1);
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(PACKET_BYTES_MAX);
    let idle_ms = u32::try_from(IDLE_TIME.as_millis()).unwrap_or(u32::MAX);
    config
        .congestion_controller_factory(Arc::new(SwitchingFactory))
        .initial_mtu(PACKET_BYTES_FIRST)
        .min_mtu(PACKET_BYTES_FIRST)
        .mtu_discovery_config(Some(mtu))
        .max_concurrent_bidi_streams(streams)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(SESSION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_BYTES_MAX)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .keep_alive_interval(Some(KEEP_ALIVE));
    config
}

/// What concerns all connections.
pub(crate) fn endpoint(reset_secret: Option<&[u8; 32]>, id_key: u64) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    if let Some(secret) = reset_secret {
        config.reset_key(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)));
    }
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    // It fails only below 1,200.
    let _ = config.max_udp_payload_size(PACKET_BYTES_MAX);
    config
}

/// What connection ids are made with, so that this endpoint recognises them after a restart.
pub(crate) fn id_key(reset_secret: &[u8; 32]) -> u64 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, reset_secret);
    // Connection ids are recognised by a tag, which hides nothing: any part of the secret that
    // the resets do not give away will do.
    let tag = hmac::sign(&key, b"stoq/1 connection ids");
    let (tag, _) = tag.as_ref().split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*tag)
}
