//! How many orders a node runs at once, of all and of each member. Runs none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use types::NodeId;

use crate::executions::refusal::OrderRefusal;

/// Orders that run at once: each takes an instance of the pool and up to a core, beside the workloads
/// that are placed here.
const ORDERS_MAX: usize = 16;
/// Of those, orders of one member: others have their turn beside one that asks all the time.
const ORDERS_PER_MEMBER_MAX: usize = 8;

/// The places that are taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<NodeId, usize>>>);

/// One place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    of: Places,
    asker: NodeId,
}

impl Place {
    /// Who has it.
    pub(crate) const fn asker(&self) -> NodeId {
        self.asker
    }
}

impl Places {
    pub(crate) fn take(&self, asker: NodeId) -> Result<Place, OrderRefusal> {
        let mut taken = self.taken();
        let own = taken.get(&asker).copied().unwrap_or_default();
        if own >= ORDERS_PER_MEMBER_MAX || taken.values().sum::<usize>() >= ORDERS_MAX {
            return Err(OrderRefusal::Busy);
        }
        taken.insert(asker, own + 1);
        let of = self.clone();
        Ok(Place { of, asker })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, HashMap<NodeId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        if let Some(count) = taken.get_mut(&self.asker) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    #[test]
    fn one_member_leaves_places_for_others() {
        let places = Places::default();
        let take = |number, count: usize| -> Vec<Place> {
            let taken = (0..count).map(|_| places.take(member(number)));
            taken.map_while(Result::ok).collect()
        };
        let first = take(1, ORDERS_MAX);
        assert_eq!(first.len(), ORDERS_PER_MEMBER_MAX);
        let second = take(2, ORDERS_MAX);
        assert_eq!(first.len() + second.len(), ORDERS_MAX);
        assert!(matches!(places.take(member(3)), Err(OrderRefusal::Busy)));
        drop(first);
        assert_eq!(take(3, 1).len(), 1);
        drop(second);
        assert!(places.taken().is_empty());
    }
}
