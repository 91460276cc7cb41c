//! The ends of epochs in which validators changed, kept for good: the last block of such an epoch
//! names who votes next and is certified by those who voted until then. With them whoever knows the
//! genesis knows every later committee. Never decides anything.

use bytes::{BufMut, Bytes};
use commonware_codec::{
    Buf, Encode as _, EncodeSize, Error as CodecError, RangeCfg, Read, ReadExt as _, Write,
};
use commonware_storage::metadata::{Config, Metadata};
use commonware_utils::sequence::U64;

use crate::application::Runtime;
use crate::block::Block;
use crate::epochs::Epochs;
use crate::links::BLOCK_MESSAGE_BYTES_MAX;

/// The partition, beside those of the engine.
const PARTITION: &str = "handovers";
/// The key under which it says how far it is complete. No epoch has this number, nor the next two.
const THROUGH: u64 = u64::MAX;
/// The key of the generation of files that state and blocks are in.
const GENERATION: u64 = u64::MAX - 1;
/// The key of the last generation that was begun.
const BEGUN: u64 = u64::MAX - 2;

/// One end of an epoch, as it is proven to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The canonical bytes of the epoch's last block.
    pub block: Vec<u8>,
    /// Its certificate of finality, by the validators of that epoch.
    pub certificate: Vec<u8>,
}

impl Handover {
    /// Tells `epochs` who votes from the epoch after `epoch` on.
    pub(crate) fn tell(&self, epoch: u64, epochs: &Epochs) -> Result<(), CodecError> {
        let block = Block::read(&mut Bytes::from(self.block.clone()))?;
        epochs.hand_over(epoch, &block.committee);
        Ok(())
    }
}

impl Write for Handover {
    fn write(&self, buf: &mut impl BufMut) {
        Bytes::copy_from_slice(&self.block).write(buf);
        Bytes::copy_from_slice(&self.certificate).write(buf);
    }
}

impl EncodeSize for Handover {
    fn encode_size(&self) -> usize {
        let length = |bytes: &[u8]| bytes.len().encode_size() + bytes.len();
        length(&self.block) + length(&self.certificate)
    }
}

impl Read for Handover {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let range = RangeCfg::from(0..=BLOCK_MESSAGE_BYTES_MAX);
        Ok(Self {
            block: Bytes::read_cfg(buf, &range)?.to_vec(),
            certificate: Bytes::read_cfg(buf, &range)?.to_vec(),
        })
    }
}

/// What is on disk.
pub(crate) struct Handovers<E: Runtime> {
    store: Metadata<E, U64, Vec<u8>>,
}

impl<E: Runtime> Handovers<E> {
    /// Opens them and tells `epochs` of each.
    ///
    /// # Errors
    /// A sentence, if the files are damaged.
    pub(crate) async fn open(context: E, epochs: &Epochs) -> Result<Self, String> {
        let config = Config {
            partition: PARTITION.into(),
            codec_config: (RangeCfg::from(0..=2 * BLOCK_MESSAGE_BYTES_MAX), ()),
        };
        let store = Metadata::init(context, config).await;
        let store = store.map_err(|error| format!("the list of handovers is damaged: {error}"))?;
        let handovers = Self { store };
        for (epoch, handover) in handovers.all()? {
            let told = handover.tell(epoch, epochs);
            told.map_err(|error| damaged(epoch, &error))?;
        }
        if let Some(through) = handovers.through()? {
            epochs.hand_over(through, &[]);
        }
        Ok(handovers)
    }

    /// Each with the epoch that it ends, in order.
    ///
    /// # Errors
    /// A sentence, if one is damaged.
    pub(crate) fn all(&self) -> Result<Vec<(u64, Handover)>, String> {
        let mut epochs: Vec<u64> = self.store.keys().map(u64::from).collect();
        epochs.retain(|epoch| *epoch < BEGUN);
        epochs.sort_unstable();
        let read = |epoch| {
            let bytes = self.store.get(&U64::new(epoch)).cloned();
            let mut bytes = Bytes::from(bytes.unwrap_or_default());
            let handover = Handover::read(&mut bytes).map_err(|error| damaged(epoch, &error))?;
            Ok((epoch, handover))
        };
        epochs.into_iter().map(read).collect()
    }

    /// The last epoch that is over.
    fn through(&self) -> Result<Option<u64>, String> {
        self.number(THROUGH)
    }

    /// Which files hold state and blocks: 0 until this node took a state over from its peers.
    ///
    /// # Errors
    /// A sentence, if the files are damaged.
    pub(crate) fn generation(&self) -> Result<u64, String> {
        Ok(self.number(GENERATION)?.unwrap_or_default())
    }

    fn number(&self, key: u64) -> Result<Option<u64>, String> {
        let Some(bytes) = self.store.get(&U64::new(key)) else {
            return Ok(None);
        };
        let bytes: Option<[u8; 8]> = bytes.as_slice().try_into().ok();
        let bytes = bytes.ok_or("the list of handovers is damaged")?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }

    /// A generation that no file is of yet, and of which none will be found after a crash.
    ///
    /// # Errors
    /// A sentence, if it cannot be written.
    pub(crate) async fn begin_generation(self) -> Result<(Self, u64), String> {
        let last = self.number(BEGUN)?.unwrap_or_default();
        let next = last.max(self.generation()?).saturating_add(1);
        let Self { mut store } = self;
        store.put(U64::new(BEGUN), next.to_be_bytes().to_vec());
        Ok((Self::synced(store).await?, next))
    }

    /// Goes over to the files of `generation`, whose state is in the epoch after `through`, with
    /// what ended until then. Durably, and all of it at once.
    ///
    /// # Errors
    /// A sentence, if it cannot be written.
    pub(crate) async fn adopt(
        self,
        generation: u64,
        through: u64,
        proofs: &[(u64, Handover)],
    ) -> Result<Self, String> {
        let Self { mut store } = self;
        for (epoch, proof) in proofs {
            store.put(U64::new(*epoch), proof.encode().to_vec());
        }
        store.put(U64::new(THROUGH), through.to_be_bytes().to_vec());
        store.put(U64::new(GENERATION), generation.to_be_bytes().to_vec());
        Self::synced(store).await
    }

    /// Notes that `epoch` is over, durably; with the proof, if its validators change.
    ///
    /// # Errors
    /// A sentence, if it cannot be written.
    pub(crate) async fn keep(self, epoch: u64, proof: Option<Handover>) -> Result<Self, String> {
        let Self { mut store } = self;
        if let Some(proof) = proof {
            store.put(U64::new(epoch), proof.encode().to_vec());
        }
        store.put(U64::new(THROUGH), epoch.to_be_bytes().to_vec());
        Self::synced(store).await
    }

    async fn synced(store: Metadata<E, U64, Vec<u8>>) -> Result<Self, String> {
        let store = store.sync().await;
        let store = store.map_err(|error| format!("a handover cannot be written: {error}"))?;
        Ok(Self { store })
    }
}

fn damaged(epoch: u64, error: &CodecError) -> String {
    format!("the handover that ends epoch {epoch} is damaged: {error}")
}
