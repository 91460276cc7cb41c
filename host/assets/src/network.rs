//! Transport between nodes, from what sessions showed. Nothing is sent and nothing is guessed: without
//! a session nothing is known.

use types::NetworkFacts;

use crate::adapter::MeasureError;

/// What one session showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionReading {
    /// Bytes that it carried in a second.
    pub goodput_bytes_per_s: u64,
    /// Its round trip, in microseconds.
    pub rtt_us: u64,
    /// Packets that it lost, of a million.
    pub loss_ppm: u32,
}

/// What the sessions show together: the greatest goodput of any, for sessions share one way out and
/// their sum would count it twice; the median round trip and loss.
///
/// # Errors
/// [`MeasureError::Absent`] if there is no session.
pub fn measure_network(sessions: &[SessionReading]) -> Result<NetworkFacts, MeasureError> {
    let goodput = sessions.iter().map(|one| one.goodput_bytes_per_s).max();
    let rtt = median(sessions.iter().map(|one| one.rtt_us));
    let loss = median(sessions.iter().map(|one| one.loss_ppm));
    let (Some(bytes_per_s), Some(rtt_us), Some(loss_ppm)) = (goodput, rtt, loss) else {
        let why = "no session with another node has carried anything".to_owned();
        return Err(MeasureError::Absent { why });
    };
    Ok(NetworkFacts {
        bytes_per_s,
        rtt_us,
        loss_ppm: loss_ppm.min(1_000_000),
        sessions: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
    })
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_session_of_three_moves_no_median() {
        let session = |goodput_bytes_per_s, rtt_us, loss_ppm| SessionReading {
            goodput_bytes_per_s,
            rtt_us,
            loss_ppm,
        };
        let sessions = [
            session(5, 100, 0),
            session(9, 90_000, 2_000_000),
            session(7, 200, 10),
        ];
        let facts = NetworkFacts {
            bytes_per_s: 9,
            rtt_us: 200,
            loss_ppm: 10,
            sessions: 3,
        };
        assert_eq!(measure_network(&sessions).unwrap(), facts);
    }

    #[test]
    fn without_a_session_nothing_is_known() {
        let refused = measure_network(&[]).unwrap_err();
        assert!(matches!(refused, MeasureError::Absent { .. }), "{refused}");
    }
}
