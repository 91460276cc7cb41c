//! A door to the parser of arguments that people write, for `tests/fuzz`. Not an interface.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Type};
use wasmtime::{Config, Engine};

use crate::invoke::parse_wave;

/// The types of a function's arguments.
pub struct WaveTypes(Vec<Type>);

impl WaveTypes {
    /// Those of the first function that a component exports; none if it has none.
    #[must_use]
    pub fn of(component: &[u8]) -> Option<Self> {
        let engine = Engine::new(&Config::new()).ok()?;
        let component = Component::from_binary(&engine, component).ok()?;
        let component = component.component_type();
        let mut exports = component.exports(&engine);
        exports.find_map(|(_, item)| match item.ty {
            ComponentItem::ComponentFunc(function) => {
                Some(Self(function.params().map(|(_, ty)| ty).collect()))
            }
            _ => None,
        })
    }

    /// The argument number `at`, read and written again; none if `text` is none.
    #[must_use]
    pub fn rewritten(&self, at: usize, text: &str) -> Option<String> {
        let value = parse_wave(self.0.get(at)?, text).ok()?;
        value.to_wave().ok()
    }
}
