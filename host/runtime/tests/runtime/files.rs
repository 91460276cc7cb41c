//! Files: what is below a preopened directory is reached, nothing else is.

use std::fs;
use std::os::unix::fs::symlink;

use hypermesh_runtime::Preopen;
use tempfile::TempDir;

use crate::harness::{Started, guest, runtime, try_start};

/// `wasi:filesystem` error codes, by their place in the enumeration.
const NO_ENTRY: &str = "err(20)";
const NOT_PERMITTED: &str = "err(31)";
const READ_ONLY: &str = "err(33)";
const NO_DIRECTORY: &str = "err(255)";

struct Files {
    dir: TempDir,
    guest: Started,
}

/// `outside/secret` beside `inside/`, which holds `note`, `sub/` and links of all sorts.
async fn files(writable: bool) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    fs::create_dir_all(inside.join("sub")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::write(inside.join("note"), "note").unwrap();
    symlink("../outside/secret", inside.join("relative")).unwrap();
    symlink(outside.join("secret"), inside.join("absolute")).unwrap();
    symlink("../outside", inside.join("directory")).unwrap();
    symlink("..", inside.join("sub/up-twice")).unwrap();
    symlink("note", inside.join("good")).unwrap();
    let preopen = Preopen {
        host_dir: inside,
        guest_path: "/data".to_owned(),
        writable,
    };
    let guest = try_start(&runtime(), guest("files"), vec![preopen], |_| {})
        .await
        .unwrap();
    Files { dir, guest }
}

impl Files {
    async fn call(&self, export: &str, path: &str) -> String {
        self.guest
            .invoke(export, &[&format!("{path:?}")])
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn files_below_the_directory_are_read() {
    let files = files(false).await;
    for path in ["note", "./note", "sub/../note", "good", "sub/up-twice/note"] {
        assert_eq!(files.call("read", path).await, "ok(\"note\")", "{path}");
    }
    assert_eq!(files.call("read", "missing").await, NO_ENTRY);
}

#[tokio::test]
async fn no_path_leads_out() {
    let files = files(true).await;
    let absolute = files.dir.path().join("outside/secret");
    for path in [
        "../outside/secret",
        "sub/../../outside/secret",
        "relative",
        "absolute",
        "directory/secret",
        "sub/up-twice/../outside/secret",
        "/etc/passwd",
        absolute.to_str().unwrap(),
    ] {
        for export in ["read", "create"] {
            assert_eq!(
                files.call(export, path).await,
                NOT_PERMITTED,
                "{export} {path}"
            );
        }
    }
    assert_eq!(
        fs::read(files.dir.path().join("outside/secret")).unwrap(),
        b"secret"
    );
    assert_eq!(
        fs::read_dir(files.dir.path().join("outside"))
            .unwrap()
            .count(),
        1
    );
}

#[tokio::test]
async fn only_a_writable_directory_is_written_to() {
    let refused = files(false).await;
    let answer = refused.call("create", "new").await;
    assert!(
        [NOT_PERMITTED, READ_ONLY].contains(&answer.as_str()),
        "{answer}"
    );
    assert!(!refused.dir.path().join("inside/new").exists());
    let allowed = files(true).await;
    assert_eq!(allowed.call("create", "new").await, "ok(\"\")");
    assert!(allowed.dir.path().join("inside/new").exists());
}

#[tokio::test]
async fn without_files_there_is_no_directory() {
    let guest = try_start(&runtime(), guest("files"), Vec::new(), |_| {})
        .await
        .unwrap();
    assert_eq!(
        guest.invoke("read", &["\"note\""]).await.unwrap(),
        NO_DIRECTORY
    );
}
