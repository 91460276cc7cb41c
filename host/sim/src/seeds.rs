//! Seeds that once found something. They are run first, for ever.

/// One seed a line, and the number of validators where it was given; `#` begins a remark.
const KEPT: &str = include_str!("../seeds.txt");

/// The seeds kept, each with its number of validators where that does not follow from it.
pub fn kept_seeds() -> impl Iterator<Item = (u64, Option<usize>)> {
    KEPT.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let seed = words.next()?.parse().ok()?;
        Some((seed, words.next().and_then(|word| word.parse().ok())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_seed_or_a_remark() {
        let lines = KEPT.lines().filter(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        assert_eq!(lines.count(), kept_seeds().count());
    }
}
