//! Which node is next for a replica of one component. Knows nodes as they stand, and changes none.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use types::{Constraints, Name};

use super::Site;
use crate::node::Misfit;

/// The choice for the replicas of one component, one after the other.
pub(super) struct Choice<'a> {
    constraints: &'a Constraints,
    /// Of each site: why it takes none, whatever its replicas do.
    refuses: Vec<Option<Misfit>>,
    /// Of each site: whether it has a workload that is wanted near.
    near: Vec<bool>,
    /// Of each site: which value it has of the label that is spread over.
    domains: Vec<usize>,
    /// Replicas of the component on each site.
    replicas: Vec<u32>,
    /// Replicas of the component on the sites of each domain.
    in_domain: Vec<u32>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(sites: &[Site], constraints: &'a Constraints) -> Self {
        let refuses = |site: &Site| {
            let away = || site.has_any(constraints.away.iter());
            let refuses = site.facts().refuses(constraints);
            refuses.or_else(|| away().then_some(Misfit::Away))
        };
        let mut values: BTreeMap<Option<&Name>, usize> = BTreeMap::new();
        let domains: Vec<usize> = sites
            .iter()
            .map(|site| {
                let label = constraints.spread.as_ref();
                let value = label.and_then(|label| site.record.labels.get(label));
                let next = values.len();
                *values.entry(value).or_insert(next)
            })
            .collect();
        Self {
            constraints,
            refuses: sites.iter().map(refuses).collect(),
            near: sites
                .iter()
                .map(|site| site.has_any(constraints.near.iter()))
                .collect(),
            replicas: vec![0; sites.len()],
            in_domain: vec![0; values.len()],
            domains,
        }
    }

    /// Whether a replica that is on a site stays there.
    pub(super) fn stays(&self, sites: &[Site], at: usize) -> bool {
        let expels = sites
            .get(at)
            .map(|site| site.facts().expels(self.constraints));
        expels == Some(None) && !self.is_taken(at)
    }

    /// Whether a replica that is on a site and has nowhere else to go stays on record there.
    pub(super) fn may_hold(&self, site: &Site) -> bool {
        let facts = site.facts();
        facts.ousts().is_some() && facts.expels(self.constraints) == facts.ousts()
    }

    /// Notes a replica on a site.
    pub(super) fn count(&mut self, at: usize) {
        if let Some(replicas) = self.replicas.get_mut(at) {
            *replicas += 1;
        }
        let domain = self.domains.get(at).copied();
        if let Some(replicas) = domain.and_then(|domain| self.in_domain.get_mut(domain)) {
            *replicas += 1;
        }
    }

    /// The site that comes first.
    pub(super) fn best(&self, sites: &[Site]) -> Option<usize> {
        let fits = |at: &usize| self.misfit(sites, *at).is_none();
        (0..sites.len())
            .filter(fits)
            .min_by_key(|at| self.rank(sites, *at))
    }

    /// How many sites take no replica, for each reason.
    pub(super) fn reasons(&self, sites: &[Site]) -> BTreeMap<Misfit, u32> {
        let mut reasons = BTreeMap::new();
        for misfit in (0..sites.len()).filter_map(|at| self.misfit(sites, at)) {
            *reasons.entry(misfit).or_default() += 1;
        }
        reasons
    }

    fn misfit(&self, sites: &[Site], at: usize) -> Option<Misfit> {
        let refuses = self.refuses.get(at).copied().flatten();
        // It may have become full meanwhile.
        let full = || {
            let site = sites.get(at)?;
            let refuses = site.facts().refuses(self.constraints);
            refuses.filter(|misfit| *misfit == Misfit::Full)
        };
        refuses
            .or_else(|| self.is_taken(at).then_some(Misfit::Apart))
            .or_else(full)
    }

    fn is_taken(&self, at: usize) -> bool {
        self.constraints.apart && self.replicas.get(at).is_some_and(|replicas| *replicas > 0)
    }

    fn rank(&self, sites: &[Site], at: usize) -> impl Ord + use<> {
        let domain = self.domains.get(at).copied();
        (
            domain.and_then(|domain| self.in_domain.get(domain).copied()),
            Reverse(self.near.get(at).copied()),
            self.replicas.get(at).copied(),
            sites
                .get(at)
                .map(|site| (site.record.placements, site.node)),
        )
    }
}
