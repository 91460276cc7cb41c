//! `wasi:config` against guests that ask for keys that nobody set: absent is all they hear.

use std::collections::BTreeMap;

use hypermesh_runtime::{CallError, InvokeError, Secret, Services};

use crate::harness::{Started, guest, runtime, try_start_with};

async fn start(secret: &str, setting: &str) -> Started {
    let secret = Secret::new(secret.to_owned());
    let services = Services {
        secrets: BTreeMap::from([("token".to_owned(), secret)]),
        ..Services::default()
    };
    try_start_with(&runtime(), guest("config"), Vec::new(), services, |spec| {
        spec.config.insert("colour".to_owned(), setting.to_owned());
        spec.env.insert("LEVEL".to_owned(), "info".to_owned());
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn keys_of_any_length_and_kind_are_absent_unless_set() {
    let guest = start("a secret", "red").await;
    for key in [
        "",
        "Token",
        "token ",
        "token\\u{0}",
        "LEVEL",
        "PATH",
        "HOME",
        "../config",
        "*",
    ] {
        for export in ["get", "get-draft", "get-dated"] {
            let found = guest.invoke(export, &[&format!("\"{key}\"")]).await;
            assert_eq!(found.unwrap(), "none", "{export} {key}");
        }
    }
    let million = guest.invoke("has-long", &["1000000"]).await;
    assert_eq!(million.unwrap(), "false");
    // More than one host call may copy.
    let error = guest.invoke("has-long", &["20000000"]).await.unwrap_err();
    assert!(
        matches!(error, InvokeError::Call(CallError::Host { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn each_component_sees_its_own_values_only() {
    let (one, other) = (start("one", "red").await, start("other", "blue").await);
    for export in ["get", "get-draft", "get-dated"] {
        for (guest, token, colour) in [(&one, "one", "red"), (&other, "other", "blue")] {
            for (key, value) in [("token", token), ("colour", colour)] {
                let found = guest.invoke(export, &[&format!("\"{key}\"")]).await;
                assert_eq!(found.unwrap(), format!("some(\"{value}\")"));
            }
        }
    }
}
