//! Files: what is below a preopened directory is reached, nothing else is, by either release of WASI.

use std::fs;
use std::os::unix::fs::symlink;

use hypermesh_runtime::Preopen;
use tempfile::TempDir;

use crate::harness::{Started, guest, runtime, try_start};

/// A guest, and its `wasi:filesystem` error codes by their place in the enumeration.
struct Release {
    guest: &'static str,
    no_entry: &'static str,
    not_permitted: &'static str,
    read_only: &'static str,
}

const RELEASES: [Release; 2] = [
    Release {
        guest: "files",
        no_entry: "err(20)",
        not_permitted: "err(31)",
        read_only: "err(33)",
    },
    Release {
        guest: "files-0.3",
        no_entry: "err(19)",
        not_permitted: "err(30)",
        read_only: "err(32)",
    },
];

const NO_DIRECTORY: &str = "err(255)";

struct Files {
    dir: TempDir,
    guest: Started,
}

/// `outside/secret` beside `inside/`, which holds `note`, `sub/` and links of all sorts.
async fn files(release: &Release, writable: bool) -> Files {
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
    let guest = try_start(&runtime(), guest(release.guest), vec![preopen], |_| {})
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
    for release in RELEASES {
        let files = files(&release, false).await;
        for path in ["note", "./note", "sub/../note", "good", "sub/up-twice/note"] {
            assert_eq!(files.call("read", path).await, "ok(\"note\")", "{path}");
        }
        assert_eq!(files.call("read", "missing").await, release.no_entry);
    }
}

#[tokio::test]
async fn no_path_leads_out() {
    for release in RELEASES {
        let files = files(&release, true).await;
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
                let answer = files.call(export, path).await;
                let guest = release.guest;
                assert_eq!(answer, release.not_permitted, "{guest}: {export} {path}");
            }
        }
        let outside = files.dir.path().join("outside");
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn only_a_writable_directory_is_written_to() {
    for release in RELEASES {
        let refused = files(&release, false).await;
        let answer = refused.call("create", "new").await;
        assert!(
            [release.not_permitted, release.read_only].contains(&answer.as_str()),
            "{answer}"
        );
        assert!(!refused.dir.path().join("inside/new").exists());
        let allowed = files(&release, true).await;
        assert_eq!(allowed.call("create", "new").await, "ok(\"\")");
        assert!(allowed.dir.path().join("inside/new").exists());
    }
}

#[tokio::test]
async fn names_of_any_length_and_kind_are_answered() {
    for release in RELEASES {
        let files = files(&release, true).await;
        let long = "x".repeat(5_000);
        let deep = "sub/../".repeat(700);
        for path in ["", long.as_str(), deep.as_str(), "note/", "note/below"] {
            for export in ["read", "create"] {
                let answer = files.call(export, path).await;
                assert!(answer.starts_with("err("), "{export}: {answer}");
            }
        }
        assert_eq!(files.call("read", "note").await, "ok(\"note\")");
    }
}

#[tokio::test]
async fn without_files_there_is_no_directory() {
    for release in RELEASES {
        let guest = try_start(&runtime(), guest(release.guest), Vec::new(), |_| {})
            .await
            .unwrap();
        assert_eq!(
            guest.invoke("read", &["\"note\""]).await.unwrap(),
            NO_DIRECTORY
        );
    }
}
