//! The export of `hypermesh:workload/lifecycle`, for the macro `checkpoint!`.

#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated, and seen by the macro only; the contract is documented in wit/"
)]

wit_bindgen::generate!({
    inline: "
        package hypermesh:guest;
        world lifecycle { export hypermesh:workload/lifecycle@0.1.0; }
    ",
    path: ["wit/workload/lifecycle.wit"],
    world: "hypermesh:guest/lifecycle",
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "hypermesh_guest::__macros::lifecycle",
});

pub use exports::hypermesh::workload::lifecycle::Guest;
