//! `wasi:config`: the settings that the manifest gives a component, and its secrets.
//!
//! `store` is the interface as it was last proposed, and as a dated draft that deployed components
//! use; `runtime` is the draft before it, which others use. *Grant*: none, a component sees its own settings only. *Limits*: the
//! manifest bounds how many there are. *Denial*: none; a key that is not set is absent.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::wasi::config::runtime;
use self::dated::wasi::config::store;
use super::Package;
use crate::host::Host;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:config",
    version: "0.2.0-rc.1",
    interfaces: &["store"],
    grant: None,
    link,
};

pub(super) const DRAFT: Package = Package {
    name: "wasi:config",
    version: "0.2.0-draft",
    interfaces: &["runtime"],
    grant: None,
    link: link_draft,
};

pub(super) const DATED_DRAFT: Package = Package {
    name: "wasi:config",
    version: "0.2.0-draft-2024-09-27",
    interfaces: &["store"],
    grant: None,
    link: link_dated_draft,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-config-0.2.0-draft",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

mod dated {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-config-0.2.0-draft-2024-09-27",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, Host::config)
}

fn link_draft(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    runtime::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

fn link_dated_draft(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    store::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl Host {
    fn all_settings(&self) -> Vec<(String, String)> {
        let settings = self.settings().iter();
        settings
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl store::Host for Host {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        Ok(Ok(self.settings().get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.all_settings()))
    }
}

impl runtime::Host for Host {
    fn get(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Result<Option<String>, runtime::ConfigError>> {
        Ok(Ok(self.settings().get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, runtime::ConfigError>> {
        Ok(Ok(self.all_settings()))
    }
}
