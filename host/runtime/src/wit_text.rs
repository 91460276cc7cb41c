//! Component types as WIT text, for people. Bounded: shared types can expand without end.

use std::fmt::Write as _;

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{ComponentDefinedType, ComponentFuncTypeId, ComponentValType};
use wasmparser::types::TypesRef;

use crate::bounds::SIGNATURE_BYTES_MAX;

/// `func(name: string) -> string`; types are written out, for their names are not in the binary.
pub(crate) fn signature(types: TypesRef<'_>, id: ComponentFuncTypeId) -> String {
    let mut text = Text {
        types,
        text: String::new(),
    };
    if let Some(function) = types.get(id) {
        text.push(if function.async_ {
            "async func("
        } else {
            "func("
        });
        for (at, (name, ty)) in function.params.iter().enumerate() {
            text.push(if at == 0 { "" } else { ", " });
            text.push(name.as_str());
            text.push(": ");
            text.value(ty);
        }
        text.push(")");
        if let Some(ty) = &function.result {
            text.push(" -> ");
            text.value(ty);
        }
    }
    text.text
}

struct Text<'a> {
    types: TypesRef<'a>,
    text: String,
}

impl Text<'_> {
    /// Appends until the bound; what is beyond shows as `…`.
    fn push(&mut self, part: &str) {
        if self.full() {
            return;
        }
        self.text.push_str(part);
        if self.full() {
            self.text.push('…');
        }
    }

    fn full(&self) -> bool {
        self.text.len() > SIGNATURE_BYTES_MAX
    }

    fn value(&mut self, ty: &ComponentValType) {
        if self.full() {
            return;
        }
        match ty {
            ComponentValType::Primitive(ty) => self.push(primitive(*ty)),
            ComponentValType::Type(id) => {
                if let Some(ty) = self.types.get(*id) {
                    self.defined(ty);
                }
            }
        }
    }

    fn defined(&mut self, ty: &ComponentDefinedType) {
        match ty {
            ComponentDefinedType::Primitive(ty) => self.push(primitive(*ty)),
            ComponentDefinedType::Record(record) => {
                let fields = record
                    .fields
                    .iter()
                    .map(|(name, ty)| (name.as_str(), Some(ty)));
                self.fields("record { ", fields, ": ", "");
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases = cases.map(|(name, case)| (name.as_str(), case.ty.as_ref()));
                self.fields("variant { ", cases, "(", ")");
            }
            ComponentDefinedType::Flags(names) => self.names("flags { ", names.iter()),
            ComponentDefinedType::Enum(names) => self.names("enum { ", names.iter()),
            ComponentDefinedType::List { element, .. } => self.generic("list", &[Some(element)]),
            ComponentDefinedType::Map { key, value, .. } => {
                self.generic("map", &[Some(key), Some(value)]);
            }
            ComponentDefinedType::FixedLengthList {
                element, length, ..
            } => {
                self.push("list<");
                self.value(element);
                let mut end = String::new();
                // Writing to a String cannot fail.
                let _ = write!(end, ", {length}>");
                self.push(&end);
            }
            ComponentDefinedType::Tuple(tuple) => {
                let types: Vec<_> = tuple.types.iter().map(Some).collect();
                self.generic("tuple", &types);
            }
            ComponentDefinedType::Option { ty, .. } => self.generic("option", &[Some(ty)]),
            ComponentDefinedType::Result { ok, err, .. } => {
                self.generic("result", &[ok.as_ref(), err.as_ref()]);
            }
            ComponentDefinedType::Own(_) => self.push("own<resource>"),
            ComponentDefinedType::Borrow(_) => self.push("borrow<resource>"),
            ComponentDefinedType::Future { ty, .. } => self.generic("future", &[ty.as_ref()]),
            ComponentDefinedType::Stream { ty, .. } => self.generic("stream", &[ty.as_ref()]),
        }
    }

    /// `list<u8>`, `result`, `result<_, string>`: absent types at the end are left out.
    fn generic(&mut self, name: &str, types: &[Option<&ComponentValType>]) {
        self.push(name);
        let present = types
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        for (at, ty) in types.iter().take(present).enumerate() {
            self.push(if at == 0 { "<" } else { ", " });
            match ty {
                Some(ty) => self.value(ty),
                None => self.push("_"),
            }
        }
        self.push(if present == 0 { "" } else { ">" });
    }

    fn fields<'b>(
        &mut self,
        open: &str,
        fields: impl Iterator<Item = (&'b str, Option<&'b ComponentValType>)>,
        before: &str,
        after: &str,
    ) {
        self.push(open);
        for (at, (name, ty)) in fields.enumerate() {
            if self.full() {
                return;
            }
            self.push(if at == 0 { "" } else { ", " });
            self.push(name);
            if let Some(ty) = ty {
                self.push(before);
                self.value(ty);
                self.push(after);
            }
        }
        self.push(" }");
    }

    fn names<'b>(
        &mut self,
        open: &str,
        names: impl Iterator<Item = &'b wasmparser::names::KebabString>,
    ) {
        self.fields(open, names.map(|name| (name.as_str(), None)), "", "");
    }
}

const fn primitive(ty: PrimitiveValType) -> &'static str {
    match ty {
        PrimitiveValType::Bool => "bool",
        PrimitiveValType::S8 => "s8",
        PrimitiveValType::U8 => "u8",
        PrimitiveValType::S16 => "s16",
        PrimitiveValType::U16 => "u16",
        PrimitiveValType::S32 => "s32",
        PrimitiveValType::U32 => "u32",
        PrimitiveValType::S64 => "s64",
        PrimitiveValType::U64 => "u64",
        PrimitiveValType::F32 => "f32",
        PrimitiveValType::F64 => "f64",
        PrimitiveValType::Char => "char",
        PrimitiveValType::String => "string",
        PrimitiveValType::ErrorContext => "error-context",
    }
}
