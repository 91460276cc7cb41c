//! A stream of a leased link: asked one thing at one end, answered at the other; after that it is the
//! connection. Dials nothing.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::client::{OpenRemoteError, greet, lost};
use super::frames::read_frame;
use super::server::{FRAME_PATIENCE, ServeRegionError, send};
use super::wire::{
    LINK_BYTES_MAX, Opened, Welcome, bounded_answer, decode_link_answer, decode_link_request,
    encode_region_frame,
};
use crate::link_op::{LinkAnswer, LinkOp};

/// What is waited for an answer: longer than a node dials.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// Asks the host of the link that `capability` is for one thing. After [`LinkDone::Connected`] the stream
/// is the connection.
///
/// [`LinkDone::Connected`]: crate::LinkDone::Connected
///
/// # Errors
/// [`OpenRemoteError`].
pub async fn ask_link(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    capability: Vec<u8>,
    operation: &LinkOp,
) -> Result<LinkAnswer, OpenRemoteError> {
    greet(reader, writer, capability).await?;
    let asked = async {
        let request = encode_region_frame(operation).map_err(lost)?;
        writer.write_all(&request).await.map_err(lost)?;
        writer.flush().await.map_err(lost)?;
        let answer = read_frame(reader, LINK_BYTES_MAX).await.map_err(lost)?;
        let answer = answer.ok_or_else(|| lost("it ended the stream"))?;
        decode_link_answer(&answer).map_err(lost)
    };
    let asked = timeout(ANSWER_PATIENCE, asked).await;
    asked.map_err(|_| lost("it took too long"))?
}

/// Says that a link is open that carries so many bytes per second, and reads what is asked of it.
///
/// # Errors
/// [`ServeRegionError`], for the log.
pub async fn read_link_request(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    bytes_per_s: u64,
) -> Result<LinkOp, ServeRegionError> {
    let welcome: Welcome = Ok(Opened { bytes: bytes_per_s });
    send(writer, &welcome).await?;
    let request = timeout(FRAME_PATIENCE, read_frame(reader, LINK_BYTES_MAX)).await;
    let request = request.map_err(|_| ServeRegionError::Stalled(FRAME_PATIENCE))??;
    Ok(decode_link_request(
        &request.ok_or(ServeRegionError::NoHello)?,
    )?)
}

/// Answers it.
///
/// # Errors
/// [`ServeRegionError`], for the log.
pub async fn answer_link(
    writer: &mut (impl AsyncWrite + Unpin),
    answer: LinkAnswer,
) -> Result<(), ServeRegionError> {
    send(writer, &bounded_answer(answer)).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex, split};

    use super::*;
    use crate::link_op::{LinkDone, LinkError};
    use crate::remote::server::{read_hello, refuse_stream};
    use crate::remote::wire::{DecodeRegionFrameError, Refusal};

    fn connect() -> LinkOp {
        LinkOp::Connect {
            host: "a.example".to_owned(),
            port: 443,
        }
    }

    #[test]
    fn bytes_are_pinned() {
        let body = |frame: Result<Vec<u8>, _>| frame.unwrap().split_off(4);
        let request = body(encode_region_frame(connect()));
        assert_eq!(
            request,
            [&[0, 0, 9], b"a.example".as_slice(), &[187, 3]].concat()
        );
        assert_eq!(decode_link_request(&request), Ok(connect()));
        assert_eq!(body(encode_region_frame(LinkOp::Usage)), [0, 1]);
        let answer = |answer: LinkAnswer| body(encode_region_frame(answer));
        assert_eq!(answer(Ok(LinkDone::Connected)), [0, 0, 0]);
        let usage = LinkDone::Usage {
            bytes_per_s: 1,
            sent_bytes: 2,
            received_bytes: 3,
            connections: 4,
            left_ms: 5,
        };
        assert_eq!(answer(Ok(usage)), [0, 0, 1, 1, 2, 3, 4, 5]);
        assert_eq!(answer(Err(LinkError::Ended)), [0, 1, 0]);
        assert_eq!(answer(Err(LinkError::NotAllowed)), [0, 1, 1]);
        assert_eq!(answer(Err(LinkError::TooMany(16))), [0, 1, 2, 16]);
        assert_eq!(answer(Err(LinkError::NoHost)), [0, 1, 3]);
        let failed = LinkError::Failed("x".to_owned());
        assert_eq!(answer(Err(failed)), [0, 1, 4, 1, b'x']);
        let refused = Err(DecodeRegionFrameError::NotCanonical);
        assert_eq!(decode_link_request(&[0, 2]), refused);
        let long = LinkAnswer::Err(LinkError::Failed("ä".repeat(LINK_BYTES_MAX)));
        let fits = answer(bounded_answer(long));
        assert!(decode_link_answer(&fits).is_ok());
    }

    #[tokio::test]
    async fn a_stream_is_asked_one_thing_and_is_the_connection_then() {
        let (near, far) = duplex(64);
        let (mut reader, mut writer) = split(near);
        let served = tokio::spawn(async move {
            let (mut reader, mut writer) = split(far);
            let hello = read_hello(&mut reader).await.unwrap();
            assert_eq!(hello.capability, [1, 2]);
            let asked = read_link_request(&mut reader, &mut writer, 9)
                .await
                .unwrap();
            assert_eq!(asked, connect());
            let connected = Ok(LinkDone::Connected);
            answer_link(&mut writer, connected).await.unwrap();
            writer.write_all(b"served").await.unwrap();
            writer.shutdown().await.unwrap();
            let mut sent = Vec::new();
            reader.read_to_end(&mut sent).await.unwrap();
            sent
        });
        let asked = ask_link(&mut reader, &mut writer, vec![1, 2], &connect()).await;
        assert_eq!(asked, Ok(Ok(LinkDone::Connected)));
        writer.write_all(b"sent").await.unwrap();
        writer.shutdown().await.unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).await.unwrap();
        assert_eq!(
            (read, served.await.unwrap()),
            (b"served".to_vec(), b"sent".to_vec())
        );
    }

    #[tokio::test]
    async fn a_capability_that_opens_nothing_is_told_as_such() {
        let (near, far) = duplex(1_024);
        let (mut reader, mut writer) = split(near);
        let served = tokio::spawn(async move {
            let (mut reader, writer) = split(far);
            read_hello(&mut reader).await.unwrap();
            refuse_stream(writer, Refusal::NoLease).await
        });
        let asked = ask_link(&mut reader, &mut writer, vec![1], &LinkOp::Usage).await;
        assert_eq!(asked, Err(OpenRemoteError::Refused(Refusal::NoLease)));
        served.await.unwrap().unwrap();
    }
}
