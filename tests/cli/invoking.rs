//! Typed calls, in and out in WAVE.

use crate::components::{LIBRARY, service};
use crate::harness::Fabric;

#[test]
fn numbers_and_records_go_in_and_out() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    let out = fabric.nexus(&["deploy", "lib.wat"]).ok();
    assert!(out.contains("exports add"), "{out}");
    assert_eq!(
        fabric.nexus(&["invoke", "lib", "add", "2", "-3"]).ok(),
        "-1\n"
    );
    let mirrored = fabric
        .nexus(&["invoke", "lib", "mirror", "{x: 1, y: -2}"])
        .ok();
    assert_eq!(mirrored, "{x: -2, y: 1}\n");
    let json = fabric
        .nexus(&["invoke", "lib", "add", "1", "1", "-o", "json"])
        .json();
    assert_eq!(json["result"], "2");
}

#[test]
fn a_call_that_cannot_be_made_says_why() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    fabric.nexus(&["deploy", "lib.wat"]).ok();
    for (arguments, code, said) in [
        (
            &["nothing"][..],
            4,
            "no export `nothing`: the component exports add: func(",
        ),
        (&["add", "1"], 2, "`add` is func(a: s32, b: s32) -> s32"),
        (
            &["add", "1", "\"two\""],
            2,
            "argument 2 `\"two\"` is not valid",
        ),
        (&["mirror", "{x: 1}"], 2, "argument 1 `{x: 1}` is not valid"),
        (&["mirror", "{x: 1,"], 2, "argument 1 `{x: 1,` is not valid"),
    ] {
        let err = fabric
            .nexus(&[&["invoke", "lib"], arguments].concat())
            .failed(code);
        assert!(
            err.starts_with("error: ") && err.contains(said),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn a_call_that_traps_is_code_7_and_the_next_one_works() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    fabric.nexus(&["deploy", "lib.wat"]).ok();
    let err = fabric.nexus(&["invoke", "lib", "trap"]).failed(7);
    assert!(
        err.starts_with("error: ") && err.contains("unreachable"),
        "{err}"
    );
    assert_eq!(
        fabric.nexus(&["invoke", "lib", "add", "1", "1"]).ok(),
        "2\n"
    );
}

#[test]
fn the_demo_greets() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("here"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    let out = fabric.nexus(&["invoke", "web", "greet", "\"Ann\""]).ok();
    assert_eq!(out, "\"Hello, Ann!\"\n");
}
