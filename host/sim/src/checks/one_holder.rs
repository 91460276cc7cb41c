//! Of what one at a time may hold, one holder stops before another starts: by what each believes
//! itself, in the time of the world.

use std::collections::BTreeMap;

use types::AssetId;

use super::Check;
use crate::event::Event;

/// Who believes to hold what.
#[derive(Debug, Default)]
pub(crate) struct OneHolder {
    holders: BTreeMap<AssetId, usize>,
}

impl Check for OneHolder {
    fn name(&self) -> &'static str {
        "one holder"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Holds { node, asset } => match self.holders.insert(*asset, *node) {
                Some(other) => Err(format!(
                    "node {node} holds {} while node {other} still does",
                    asset.short()
                )),
                None => Ok(()),
            },
            Event::LetsGo { node, asset } => {
                if self.holders.get(asset) == Some(node) {
                    self.holders.remove(asset);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{AssetType, Digest};

    use super::*;

    #[test]
    fn a_holder_that_starts_before_another_stops_is_seen() {
        let asset = AssetId::from_parts(AssetType::Container, Digest::from_bytes([1; 32]));
        let mut check = OneHolder::default();
        assert!(check.see(&Event::Holds { node: 0, asset }).is_ok());
        assert!(check.see(&Event::LetsGo { node: 0, asset }).is_ok());
        assert!(check.see(&Event::Holds { node: 1, asset }).is_ok());
        assert!(check.see(&Event::LetsGo { node: 0, asset }).is_ok());
        assert!(check.see(&Event::Holds { node: 2, asset }).is_err());
    }
}
