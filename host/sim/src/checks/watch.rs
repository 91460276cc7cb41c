//! Shows every observation to every checker and keeps what they object to. Never judges itself.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use types::NodeId;

use super::{absence, agreement, blame, bounds, durable, heights, innocent, liveness};
use super::{no_overcommit, once, one_holder, roots, running};
use crate::event::Event;

/// Objections kept: the first says what went wrong, a few more show how far it went.
const OBJECTIONS_MAX: usize = 8;

/// One rule.
pub(crate) trait Check: Send {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Looks at one observation.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn see(&mut self, event: &Event<'_>) -> Result<(), String>;
}

/// All checkers.
pub(crate) struct Watch {
    inner: Mutex<Inner>,
}

struct Inner {
    checks: Vec<Box<dyn Check>>,
    objections: Vec<String>,
}

impl Watch {
    /// For a fabric in which these nodes are honest, and some of them may be voted out.
    pub(crate) fn new(honest: &[(usize, NodeId)], voted_out: BTreeSet<usize>) -> Self {
        let checks: Vec<Box<dyn Check>> = vec![
            Box::<agreement::Agreement>::default(),
            Box::<durable::Durable>::default(),
            Box::<heights::Heights>::default(),
            Box::<roots::Roots>::default(),
            Box::<once::Once>::default(),
            Box::new(liveness::Liveness),
            Box::new(bounds::Bounds),
            Box::new(blame::Blames),
            Box::new(innocent::Innocent::new(honest)),
            Box::new(running::Running),
            Box::<no_overcommit::NoOvercommit>::default(),
            Box::<one_holder::OneHolder>::default(),
            Box::new(absence::Absence::new(honest, voted_out)),
        ];
        Self {
            inner: Mutex::new(Inner {
                checks,
                objections: Vec::new(),
            }),
        }
    }

    /// Shows an observation to all.
    pub(crate) fn see(&self, event: &Event<'_>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { checks, objections } = &mut *inner;
        for check in checks {
            if let Err(what) = check.see(event)
                && objections.len() < OBJECTIONS_MAX
            {
                objections.push(format!("{}: {what}", check.name()));
            }
        }
    }

    /// What was objected to.
    pub(crate) fn objections(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.objections.clone()
    }
}
