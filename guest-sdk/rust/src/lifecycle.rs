//! State that moves with a workload, by `hypermesh:workload/lifecycle`. Its format is the guest's.

/// A component whose state the host may take out of one instance and put into another.
///
/// ```
/// use std::cell::Cell;
/// use hypermesh_guest::lifecycle::Checkpoint;
///
/// thread_local! { static COUNT: Cell<u32> = const { Cell::new(0) } }
///
/// struct Counter;
/// hypermesh_guest::checkpoint!(Counter);
///
/// impl Checkpoint for Counter {
///     fn checkpoint() -> Result<Vec<u8>, String> {
///         Ok(COUNT.get().to_le_bytes().to_vec())
///     }
///     fn restore(state: Vec<u8>) -> Result<(), String> {
///         let bytes = state.try_into().map_err(|_| "expected four bytes")?;
///         COUNT.set(u32::from_le_bytes(bytes));
///         Ok(())
///     }
/// }
/// # COUNT.set(7);
/// # let state = Counter::checkpoint().unwrap();
/// # COUNT.set(0);
/// # Counter::restore(state).unwrap();
/// # assert_eq!(COUNT.get(), 7);
/// ```
pub trait Checkpoint {
    /// The whole state as bytes.
    ///
    /// # Errors
    /// A sentence for the operator; no checkpoint is taken then.
    fn checkpoint() -> Result<Vec<u8>, String>;

    /// Goes on from the bytes of an earlier [`checkpoint`](Self::checkpoint). Called in a fresh
    /// instance, before anything else.
    ///
    /// # Errors
    /// A sentence for the operator; the instance does not start then.
    fn restore(state: Vec<u8>) -> Result<(), String>;
}

/// Exports the [`Checkpoint`](crate::lifecycle::Checkpoint) of a type from this component.
#[macro_export]
macro_rules! checkpoint {
    ($type:ident) => {
        #[cfg(target_os = "wasi")]
        const _: () = {
            impl $crate::__macros::lifecycle::Guest for $type {
                fn checkpoint() -> Result<Vec<u8>, String> {
                    <$type as $crate::lifecycle::Checkpoint>::checkpoint()
                }
                fn restore(state: Vec<u8>) -> Result<(), String> {
                    <$type as $crate::lifecycle::Checkpoint>::restore(state)
                }
            }
    $crate::__macros::lifecycle::export!($type with_types_in $crate::__macros::lifecycle);
        };
        #[cfg(not(target_os = "wasi"))]
        const _: fn() = || {
            fn checked<T: $crate::lifecycle::Checkpoint>() {}
            checked::<$type>();
        };
    };
}
