//! Libraries: typed exports from a WIT file. What they mean is the guest's business.

/// Makes Rust of your own WIT, for components whose exports others call.
///
/// It takes the options of `wit_bindgen::generate!` and leaves you a trait for each export, `Guest`
/// for those of the world itself, and `export!` to name the type that implements them.
///
/// ```
/// hypermesh_guest::library!({ path: [], inline: "
///     package demo:sums;
///     world sums { export add: func(a: u32, b: u32) -> u32; }
/// " });
///
/// struct Sums;
/// export!(Sums);
///
/// impl Guest for Sums {
///     fn add(a: u32, b: u32) -> u32 { a + b }
/// }
/// # fn main() { assert_eq!(Sums::add(1, 2), 3); }
/// ```
///
/// Without options it reads the one world of the folder `wit`.
#[macro_export]
macro_rules! library {
    () => { $crate::library!({ path: "wit" }); };
    ({ $($options:tt)* }) => {
        $crate::__macros::wit_bindgen::generate!({
            runtime_path: "::hypermesh_guest::__macros::wit_bindgen::rt",
            $($options)*
        });
    };
}
