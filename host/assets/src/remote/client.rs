//! The end that asks: one stream per lease, several operations under way. Does not reconnect: what is
//! lost is said to be lost.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::IN_FLIGHT_MAX;
use super::frames::read_frame;
use super::protocol::{AnswerOf, Protocol, RegionProtocol};
use super::wire::{
    DecodeRegionFrameError, FRAME_BYTES_MAX, Hello, Opened, Refusal, WELCOME_BYTES_MAX, answer_in,
    decode_welcome, encode_region_frame,
};
use crate::region_op::RegionError;

/// What is waited for an answer: sessions of peers that are gone end sooner, and a node that takes
/// longer is as good as gone.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// A region of another node.
pub type RemoteRegion = Remote<RegionProtocol>;

/// What is kept on another node for a lease. Dropping it ends the stream.
#[derive(Debug)]
pub struct Remote<P: Protocol> {
    opened: Opened,
    /// Locked in turn, so that what is asked first is sent first.
    asks: Mutex<mpsc::Sender<Ask<P>>>,
    places: Arc<Semaphore>,
    lost: Arc<OnceLock<String>>,
    /// Ended with it.
    _tasks: JoinSet<()>,
}

/// One request on its way.
struct Ask<P: Protocol> {
    frame: Vec<u8>,
    waiting: Waiting<P>,
}

/// Who waits for an answer; its place is free once the answer came, wanted or not.
struct Waiting<P: Protocol> {
    answer: oneshot::Sender<AnswerOf<P>>,
    _place: OwnedSemaphorePermit,
}

/// What was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRemoteError {
    /// Its host says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The stream ended before there was an answer.
    #[error("the host did not answer: {0}")]
    Lost(String),
}

/// An operation on a region that has no answer, or a refusal for one.
pub type AskRegionError = AskError<RegionError>;

/// An operation that has no answer, or a refusal for one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError<E> {
    /// It was not done.
    #[error(transparent)]
    NotDone(E),
    /// More than a frame carries; nothing was sent.
    #[error(transparent)]
    Frame(DecodeRegionFrameError),
    /// The host did not answer: it was done wholly, or not at all.
    #[error("the host is gone; the operation may have been done: {0}")]
    Lost(String),
}

impl<P: Protocol> Remote<P> {
    /// Opens what `capability` is for, over a stream to its host.
    ///
    /// # Errors
    /// [`OpenRemoteError`].
    pub async fn open<R, W>(
        mut reader: R,
        mut writer: W,
        capability: Vec<u8>,
    ) -> Result<Self, OpenRemoteError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let opened = greet(&mut reader, &mut writer, capability).await?;
        let (asks, asked) = mpsc::channel(IN_FLIGHT_MAX);
        let (waiting, answered) = mpsc::unbounded_channel();
        let lost = Arc::<OnceLock<String>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(write::<P>(writer, asked, waiting, Arc::clone(&lost)));
        tasks.spawn(read::<P>(reader, answered, Arc::clone(&lost)));
        Ok(Self {
            opened,
            asks: Mutex::new(asks),
            places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            lost,
            _tasks: tasks,
        })
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.opened.bytes
    }

    /// Does one operation. Dropped, it may be done all the same.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, operation: &P::Operation) -> Result<P::Done, AskError<P::Error>> {
        let frame = encode_region_frame(operation).map_err(AskError::Frame)?;
        let asking = async {
            let asks = self.asks.lock().await;
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| self.gone())?;
            let (answer, answered) = oneshot::channel();
            let waiting = Waiting {
                answer,
                _place: place,
            };
            let ask = Ask { frame, waiting };
            asks.send(ask).await.map_err(|_| self.gone())?;
            drop(asks);
            let answer = answered.await.map_err(|_| self.gone())?;
            answer.map_err(AskError::NotDone)
        };
        let asked = timeout(ANSWER_PATIENCE, asking).await;
        asked.unwrap_or_else(|_| {
            let text = format!("no answer came in {ANSWER_PATIENCE:?}");
            Err(AskError::Lost(text))
        })
    }

    fn gone(&self) -> AskError<P::Error> {
        let why = self.lost.get().cloned();
        AskError::Lost(why.unwrap_or_else(|| "the stream ended".to_owned()))
    }
}

/// Shows the host of what `capability` is for the capability.
pub(super) async fn greet(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    capability: Vec<u8>,
) -> Result<Opened, OpenRemoteError> {
    let exchange = async {
        let hello = encode_region_frame(Hello { capability }).map_err(lost)?;
        // What was refused at once is told by reading.
        let _ = writer.write_all(&hello).await;
        let _ = writer.flush().await;
        let welcome = read_frame(reader, WELCOME_BYTES_MAX).await;
        let welcome = welcome.map_err(lost)?;
        let welcome = welcome.ok_or_else(|| lost("it ended the stream"))?;
        decode_welcome(&welcome).map_err(lost)
    };
    let welcome = timeout(ANSWER_PATIENCE, exchange).await;
    Ok(welcome.map_err(|_| lost("it took too long"))???)
}

pub(super) fn lost(why: impl ToString) -> OpenRemoteError {
    OpenRemoteError::Lost(why.to_string())
}

/// Sends what is asked. One task, so that an asker who is stopped leaves no half frame behind.
async fn write<P: Protocol>(
    mut writer: impl AsyncWrite + Unpin,
    mut asked: mpsc::Receiver<Ask<P>>,
    // Not longer than there are places.
    waiting: mpsc::UnboundedSender<Waiting<P>>,
    lost: Arc<OnceLock<String>>,
) {
    while let Some(ask) = asked.recv().await {
        // Before its answer can come.
        if waiting.send(ask.waiting).is_err() {
            return;
        }
        let sent = async {
            writer.write_all(&ask.frame).await?;
            writer.flush().await
        };
        if let Err(error) = sent.await {
            // The first reason stays.
            let _ = lost.set(error.to_string());
            return;
        }
    }
}

/// Brings answers to those who wait for them, in their order.
async fn read<P: Protocol>(
    mut reader: impl AsyncRead + Unpin,
    mut waiting: mpsc::UnboundedReceiver<Waiting<P>>,
    lost: Arc<OnceLock<String>>,
) {
    let why = loop {
        let frame = match read_frame(&mut reader, FRAME_BYTES_MAX).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break "it ended the stream".to_owned(),
            Err(error) => break error.to_string(),
        };
        let answer = match answer_in::<P>(&frame) {
            Ok(answer) => answer,
            Err(error) => break error.to_string(),
        };
        let Ok(first) = waiting.try_recv() else {
            break "it answered what was not asked".to_owned();
        };
        // Whoever asked may have given up.
        let _ = first.answer.send(answer);
    };
    // Whoever waits is told by the end of `waiting`, and why is known before.
    let _ = lost.set(why);
}
