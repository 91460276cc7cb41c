//! A target: what is fed, what must hold, and how bytes are changed where no engine does it.

/// One decoder, or a few that belong together.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// The functions of the product that it feeds, as `Type::function`: `tests/tidy` compares.
    pub covers: &'static [&'static str],
    /// Takes any bytes; panics if a rule is broken.
    pub run: fn(&[u8]),
    /// Bytes that real encoders wrote, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Numbers that are the same for the same seed (xorshift).
pub struct Chance(u64);

impl Chance {
    /// A sequence; 0 counts as 1.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        // Edges of numbers and of UTF-8 more often than chance has them.
        const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'.', b'['];
        match self.below(3) {
            0 => EDGES.get(self.below(EDGES.len())).copied().unwrap_or(0),
            _ => u8::try_from(self.below(256)).unwrap_or(0),
        }
    }

    /// `bytes` with one to four changes.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let byte = self.byte();
            match self.below(5) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => {
                    bytes.remove(at);
                }
                2 => bytes.truncate(at),
                3 => {
                    let end = (at + self.below(16)).min(bytes.len());
                    let again = bytes.get(at..end).unwrap_or_default().to_vec();
                    bytes.extend(again);
                }
                _ => {
                    if let Some(place) = bytes.get_mut(at) {
                        *place = byte;
                    }
                }
            }
        }
    }
}
