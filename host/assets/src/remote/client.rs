//! The end that asks: one stream per region, several operations under way. Does not reconnect: what is
//! lost is said to be lost.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::IN_FLIGHT_MAX;
use super::frames::read_frame;
use super::wire::{
    Answer, DecodeRegionFrameError, FRAME_BYTES_MAX, Hello, Opened, Refusal, WELCOME_BYTES_MAX,
    decode_answer, decode_welcome, encode_region_frame,
};
use crate::region_op::{RegionDone, RegionError, RegionOp};

/// What is waited for an answer: sessions of peers that are gone end sooner, and a node that takes
/// longer is as good as gone.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// A region of another node. Dropping it ends the stream.
#[derive(Debug)]
pub struct RemoteRegion {
    opened: Opened,
    asks: mpsc::Sender<Ask>,
    places: Arc<Semaphore>,
    lost: Arc<OnceLock<String>>,
    /// Ended with it.
    _tasks: JoinSet<()>,
}

/// One request on its way.
struct Ask {
    frame: Vec<u8>,
    waiting: Waiting,
}

/// Who waits for an answer; its place is free once the answer came, wanted or not.
struct Waiting {
    answer: oneshot::Sender<Answer>,
    _place: OwnedSemaphorePermit,
}

/// A region that was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenRemoteError {
    /// Its host says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The stream ended before there was an answer.
    #[error("the host did not answer: {0}")]
    Lost(String),
}

/// An operation that has no answer, or a refusal for one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskRegionError {
    /// It was not done.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// More than a frame carries; nothing was sent.
    #[error(transparent)]
    Frame(#[from] DecodeRegionFrameError),
    /// The host did not answer: it was done wholly, or not at all.
    #[error("the host of the region is gone; the operation may have been done: {0}")]
    Lost(String),
}

impl RemoteRegion {
    /// Opens the region that `capability` is for, over a stream to its host.
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
        tasks.spawn(write(writer, asked, waiting, Arc::clone(&lost)));
        tasks.spawn(read(reader, answered, Arc::clone(&lost)));
        Ok(Self {
            opened,
            asks,
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
    /// [`AskRegionError`].
    pub async fn ask(&self, operation: &RegionOp) -> Result<RegionDone, AskRegionError> {
        let frame = encode_region_frame(operation)?;
        let asking = async {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| self.gone())?;
            let (answer, answered) = oneshot::channel();
            let waiting = Waiting {
                answer,
                _place: place,
            };
            let ask = Ask { frame, waiting };
            self.asks.send(ask).await.map_err(|_| self.gone())?;
            let answer = answered.await.map_err(|_| self.gone())?;
            Ok(answer?)
        };
        let asked = timeout(ANSWER_PATIENCE, asking).await;
        asked.unwrap_or_else(|_| {
            let text = format!("no answer came in {ANSWER_PATIENCE:?}");
            Err(AskRegionError::Lost(text))
        })
    }

    fn gone(&self) -> AskRegionError {
        let why = self.lost.get().cloned();
        AskRegionError::Lost(why.unwrap_or_else(|| "the stream ended".to_owned()))
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
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut asked: mpsc::Receiver<Ask>,
    // Not longer than there are places.
    waiting: mpsc::UnboundedSender<Waiting>,
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
async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut waiting: mpsc::UnboundedReceiver<Waiting>,
    lost: Arc<OnceLock<String>>,
) {
    let why = loop {
        let frame = match read_frame(&mut reader, FRAME_BYTES_MAX).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break "it ended the stream".to_owned(),
            Err(error) => break error.to_string(),
        };
        let answer = match decode_answer(&frame) {
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
