//! Leased transport of one thread: every lease is granted at once, and what is read is what the test
//! makes of all that was written.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::memory::check_term;
use super::with;
use crate::network::{Error, Usage};

/// How long every lease says that it lasts.
const LEFT: Duration = Duration::from_secs(3600);

/// Answers for hosts: told host, port and all that was written.
pub(super) type OnConnect = Box<dyn FnMut(&str, u16, &[u8]) -> Result<Vec<u8>, Error>>;

/// Answers for every host from now on. It is asked when a connection is made, with nothing written:
/// what it refuses then is not connected. It is asked again with all that was written, when the guest
/// first reads, and what it says then is what comes.
pub fn on_connect(answer: impl FnMut(&str, u16, &[u8]) -> Result<Vec<u8>, Error> + 'static) {
    with(|state| state.on_connect = Some(Box::new(answer)));
}

#[derive(Debug)]
pub(crate) struct Link {
    bytes_per_second: u64,
    carried: Rc<Carried>,
}

#[derive(Debug, Default)]
struct Carried {
    sent_bytes: Cell<u64>,
    received_bytes: Cell<u64>,
    connections: Cell<u32>,
    closed: Cell<bool>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    host: String,
    port: u16,
    carried: Rc<Carried>,
    written: Vec<u8>,
    /// What is still to be read, once it is known.
    answer: Option<Vec<u8>>,
    finished: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.carried.closed.set(true);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let open = self.carried.connections.get();
        self.carried.connections.set(open.saturating_sub(1));
    }
}

pub(crate) fn allocate(bytes_per_second: u64, term: Duration) -> Result<Link, Error> {
    check_term(term).map_err(Error::Invalid)?;
    if bytes_per_second == 0 {
        return Err(Error::Invalid("a lease of nothing".to_owned()));
    }
    Ok(Link {
        bytes_per_second,
        carried: Rc::default(),
    })
}

fn answered(host: &str, port: u16, written: &[u8]) -> Result<Vec<u8>, Error> {
    // Taken out while it runs: it may use the mock itself.
    let Some(mut answer) = with(|state| state.on_connect.take()) else {
        let problem = "nothing answers: tell the mock what does, with `mock::on_connect`";
        return Err(Error::Failed(problem.to_owned()));
    };
    let answered = answer(host, port, written);
    with(|state| {
        state.on_connect.get_or_insert(answer);
    });
    answered
}

impl Link {
    pub(crate) fn connect(&self, host: &str, port: u16) -> Result<Connection, Error> {
        answered(host, port, &[])?;
        self.carried
            .connections
            .set(self.carried.connections.get() + 1);
        Ok(Connection {
            host: host.to_owned(),
            port,
            carried: Rc::clone(&self.carried),
            written: Vec::new(),
            answer: None,
            finished: false,
        })
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        Ok(Usage {
            bytes_per_second: self.bytes_per_second,
            sent_bytes: self.carried.sent_bytes.get(),
            received_bytes: self.carried.received_bytes.get(),
            connections: self.carried.connections.get(),
            left: LEFT,
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        check_term(term).map_err(Error::Invalid)
    }
}

impl Connection {
    fn check(&self) -> Result<(), Error> {
        match self.carried.closed.get() {
            true => Err(Error::Ended),
            false => Ok(()),
        }
    }

    pub(crate) fn read(&mut self, bytes_max: u32) -> Result<Vec<u8>, Error> {
        self.check()?;
        let mut rest = match self.answer.take() {
            Some(rest) => rest,
            None => answered(&self.host, self.port, &self.written)?,
        };
        let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let later = rest.split_off(most.min(rest.len()));
        self.answer = Some(later);
        let received = self.carried.received_bytes.get() + rest.len() as u64;
        self.carried.received_bytes.set(received);
        Ok(rest)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check()?;
        if self.finished {
            return Err(Error::Failed("the connection was finished".to_owned()));
        }
        self.written.extend(bytes);
        let sent = self.carried.sent_bytes.get() + bytes.len() as u64;
        self.carried.sent_bytes.set(sent);
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.check()?;
        self.finished = true;
        Ok(())
    }
}
