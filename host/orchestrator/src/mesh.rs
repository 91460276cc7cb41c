//! Calls to replicas of other nodes: which node is asked, and what is remembered of how that went. Pure:
//! time and chance come in. Knows no session and no request.

use std::collections::BTreeMap;

use types::NodeId;

use crate::breaker::Breaker;
use crate::routes::Target;

/// Places that are remembered; beyond that, those that say nothing are forgotten first.
const PLACES_MAX: usize = 4_096;
/// What a call adds to the budget for second tries, in hundredths of one: so where everything fails,
/// tries are a fifth more and not twice as many.
const EARNED_HUNDREDTHS: u32 = 20;
/// Most second tries that are saved up.
const SAVED_HUNDREDTHS_MAX: u32 = 1_000;

/// One node with replicas of one component.
#[derive(Debug, Clone, Default)]
struct Place {
    breaker: Breaker,
    in_flight: u32,
}

/// What is remembered of all places.
#[derive(Debug, Clone)]
pub struct Mesh {
    places: BTreeMap<Target, BTreeMap<NodeId, Place>>,
    count: usize,
    saved_hundredths: u32,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            count: 0,
            saved_hundredths: SAVED_HUNDREDTHS_MAX,
        }
    }
}

impl Mesh {
    /// The node that is asked for a replica of `target`: of two that `chance` draws among those whose
    /// breakers let a call go, the one with fewer calls under way. None if no breaker does.
    ///
    /// Each node is there once. Whoever is told a node says how the call [ended](Self::ended).
    pub fn choose(
        &mut self,
        now_ms: u64,
        target: &Target,
        nodes: &[NodeId],
        chance: u64,
    ) -> Option<NodeId> {
        let known = self.places.get(target);
        let place = |node: &NodeId| known.and_then(|places| places.get(node));
        let goes =
            |node: &&NodeId| place(node).is_none_or(|place| place.breaker.would_admit(now_ms));
        let open: Vec<&NodeId> = nodes.iter().filter(goes).collect();
        let drawn = two_of(open.len(), chance);
        let drawn = drawn.into_iter().filter_map(|at| open.get(at).copied());
        let chosen = *drawn.min_by_key(|node| place(node).map_or(0, |place| place.in_flight))?;
        self.forget_some();
        let places = self.places.entry(target.clone()).or_default();
        let before = places.len();
        let place = places.entry(chosen).or_default();
        let admitted = place.breaker.admits(now_ms);
        debug_assert!(admitted, "it was asked before");
        place.in_flight = place.in_flight.saturating_add(1);
        self.count += places.len() - before;
        Some(chosen)
    }

    /// A call ended that a node was chosen for. It ended well if the node answered, whatever it said.
    pub fn ended(&mut self, now_ms: u64, target: &Target, node: &NodeId, well: bool) {
        let places = self.places.get_mut(target);
        if let Some(place) = places.and_then(|places| places.get_mut(node)) {
            place.in_flight = place.in_flight.saturating_sub(1);
            place.breaker.ended(now_ms, well);
        }
    }

    /// Notes a call that is no second try.
    pub fn began(&mut self) {
        let saved = self.saved_hundredths.saturating_add(EARNED_HUNDREDTHS);
        self.saved_hundredths = saved.min(SAVED_HUNDREDTHS_MAX);
    }

    /// Whether the budget has a second try left; takes it.
    pub const fn takes_retry(&mut self) -> bool {
        let left = self.saved_hundredths.checked_sub(100);
        if let Some(left) = left {
            self.saved_hundredths = left;
        }
        left.is_some()
    }

    /// What is remembered of a node: calls under way, and whether its breaker lets others go.
    #[must_use]
    pub fn place(&self, now_ms: u64, target: &Target, node: &NodeId) -> (u32, bool) {
        let places = self.places.get(target);
        let place = places.and_then(|places| places.get(node));
        place.map_or((0, true), |place| {
            (place.in_flight, place.breaker.would_admit(now_ms))
        })
    }

    /// Makes room for one more.
    fn forget_some(&mut self) {
        if self.count < PLACES_MAX {
            return;
        }
        // What has calls under way is needed; what its breaker knows is learnt again.
        for places in self.places.values_mut() {
            places.retain(|_, place| place.in_flight > 0);
        }
        self.places.retain(|_, places| !places.is_empty());
        self.count = self.places.values().map(BTreeMap::len).sum();
    }
}

/// Two different numbers below `count`, or one, or none.
fn two_of(count: usize, chance: u64) -> Vec<usize> {
    let Some(others) = count.checked_sub(1) else {
        return Vec::new();
    };
    let below = |bound: usize, part: u64| {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(part % bound).unwrap_or_default()
    };
    let first = below(count, chance & 0xffff_ffff);
    if others == 0 {
        return vec![first];
    }
    let second = below(others, chance >> 32);
    vec![first, second + usize::from(second >= first)]
}

#[cfg(test)]
mod tests {
    use types::Name;

    use super::*;
    use crate::breaker::CALLS_MIN;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn target(text: &str) -> Target {
        Target {
            workload: Name::new(text).unwrap(),
            component: Name::new("web").unwrap(),
        }
    }

    #[test]
    fn two_are_drawn_and_never_one_twice() {
        assert_eq!(two_of(0, 7), Vec::<usize>::new());
        assert_eq!(two_of(1, 7), [0]);
        for count in 2..6 {
            for chance in 0..1_000_u64 {
                let drawn = two_of(count, chance.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                assert!(drawn[0] != drawn[1] && drawn.iter().all(|at| *at < count));
            }
        }
    }

    #[test]
    fn the_less_loaded_of_two_is_asked() {
        let (mut mesh, web) = (Mesh::default(), target("web"));
        let nodes = [node(1), node(2)];
        let mut asked = [0, 0];
        for chance in 0..100 {
            let chosen = mesh.choose(0, &web, &nodes, chance).unwrap();
            asked[usize::from(chosen == node(2))] += 1;
        }
        assert_eq!(asked, [50, 50]);
        for _ in 0..50 {
            mesh.ended(0, &web, &node(2), true);
        }
        assert_eq!(mesh.place(0, &web, &node(2)), (0, true));
        assert_eq!(mesh.choose(0, &web, &nodes, 3), Some(node(2)));
    }

    #[test]
    fn a_node_that_fails_is_passed_over_for_its_component_only() {
        let (mut mesh, web, other) = (Mesh::default(), target("web"), target("other"));
        for _ in 0..CALLS_MIN {
            assert_eq!(mesh.choose(0, &web, &[node(1)], 0), Some(node(1)));
            mesh.ended(0, &web, &node(1), false);
        }
        assert_eq!(mesh.choose(0, &web, &[node(1)], 0), None);
        assert_eq!(mesh.choose(0, &web, &[node(1), node(2)], 0), Some(node(2)));
        assert_eq!(mesh.choose(0, &other, &[node(1)], 0), Some(node(1)));
        // Tried again after a pause.
        assert_eq!(mesh.choose(1_000, &web, &[node(1)], 0), Some(node(1)));
        assert_eq!(mesh.choose(1_000, &web, &[node(1)], 0), None);
    }

    #[test]
    fn second_tries_have_a_budget() {
        let mut mesh = Mesh::default();
        assert_eq!((0..100).filter(|_| mesh.takes_retry()).count(), 10);
        let tries = (0..1_000).filter(|_| {
            mesh.began();
            mesh.takes_retry()
        });
        assert_eq!(tries.count(), 200);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut mesh = Mesh::default();
        for number in 0..PLACES_MAX * 2 {
            let one = target(&format!("w{number}"));
            assert!(mesh.choose(0, &one, &[node(1)], 0).is_some());
            mesh.ended(0, &one, &node(1), true);
            assert!(mesh.count <= PLACES_MAX);
        }
    }
}
