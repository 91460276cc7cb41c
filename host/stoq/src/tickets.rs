//! Tickets, by which a handshake resumes an earlier one: those given to peers and those kept from
//! them. TLS asks for no certificate again when one is used, so they go when standing changes.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

use crate::bounds::{TICKETS_GIVEN_MAX, TICKETS_KEPT_NODES_MAX, TICKETS_PER_HANDSHAKE};
use crate::link::lock;

/// What this node gave to peers. Each ticket is good once, so early data that is replayed is not
/// taken a second time.
pub(crate) struct Given(Mutex<Arc<ServerSessionMemoryCache>>);

impl Given {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(ServerSessionMemoryCache::new(TICKETS_GIVEN_MAX)))
    }

    /// From now on every peer shows its certificate again.
    pub(crate) fn forget(&self) {
        *lock(&self.0) = ServerSessionMemoryCache::new(TICKETS_GIVEN_MAX);
    }

    fn cache(&self) -> Arc<ServerSessionMemoryCache> {
        lock(&self.0).clone()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

impl StoresServerSessions for Given {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.cache().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache().take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// What peers gave to this node, by the name under which each is dialled.
#[derive(Default)]
pub(crate) struct Kept(Mutex<HashMap<ServerName<'static>, VecDeque<Tls13ClientSessionValue>>>);

impl Kept {
    /// Whether a handshake with `name` can resume.
    pub(crate) fn has(&self, name: &str) -> bool {
        ServerName::try_from(name.to_owned()).is_ok_and(|name| lock(&self.0).contains_key(&name))
    }

    /// Forgets the tickets of one name.
    pub(crate) fn forget_one(&self, name: &str) {
        if let Ok(name) = ServerName::try_from(name.to_owned()) {
            lock(&self.0).remove(&name);
        }
    }

    pub(crate) fn forget(&self) {
        lock(&self.0).clear();
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl ClientSessionStore for Kept {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        // The first group of ours is the first of every peer.
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if name.to_str() == crate::tls::NAME_OF_ANYONE {
            return;
        }
        let mut kept = lock(&self.0);
        if kept.len() >= TICKETS_KEPT_NODES_MAX && !kept.contains_key(&name) {
            // Any will do: its node is dialled with a full handshake next time.
            let some = kept.keys().next().cloned();
            some.and_then(|some| kept.remove(&some));
        }
        let tickets = kept.entry(name).or_default();
        if tickets.len() >= TICKETS_PER_HANDSHAKE {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut kept = lock(&self.0);
        let tickets = kept.get_mut(name)?;
        let ticket = tickets.pop_back();
        if tickets.is_empty() {
            kept.remove(name);
        }
        ticket
    }
}
