//! Panics of the tasks of a run: kept for its report instead of printed. A store that cannot write
//! ends its engine with one, so most are part of the story. Never decides which.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

/// Panics kept of one run: the first one is the cause of others.
const PANICS_MAX: usize = 4;

thread_local! {
    /// The panics of the run on this thread; none while there is no run.
    static RUN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs `story` and returns with its result what panicked meanwhile on this thread.
pub(crate) fn during<T>(story: impl FnOnce() -> T) -> (T, Vec<String>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = RUN.with_borrow_mut(|run| {
                let run = run.as_mut()?;
                if run.len() < PANICS_MAX {
                    run.push(info.to_string());
                }
                Some(())
            });
            if kept.is_none() {
                usual(info);
            }
        }));
    });
    RUN.set(Some(Vec::new()));
    let result = story();
    (result, RUN.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_panics_of_a_run_are_kept() {
        let (caught, panics) = during(|| panic::catch_unwind(|| panic!("the disk is full")));
        assert!(caught.is_err());
        assert!(panics.iter().any(|text| text.contains("the disk is full")));
        let (_, panics) = during(|| ());
        assert!(panics.is_empty());
    }
}
