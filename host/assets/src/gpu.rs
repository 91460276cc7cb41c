//! Graphics processors of NVIDIA, by the library of their driver, which is looked for when it is needed.
//! Others are not seen.

use std::ffi::OsStr;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use types::{FactText, GpuFacts};

use crate::adapter::MeasureError;

/// The library as drivers install it; the name without a number comes with developers' packages only.
pub const NVML: &str = "libnvidia-ml.so.1";
/// More devices than any machine holds; a library that says more is not believed.
pub const GPUS_MAX: u32 = 64;

/// Every device that `library` knows.
///
/// # Errors
/// [`MeasureError::Absent`] with the reason if there is no library, no driver or no device.
pub fn measure_gpus(library: &OsStr) -> Result<Vec<GpuFacts>, MeasureError> {
    let nvml = Nvml::builder().lib_path(library).init().map_err(absent)?;
    let count = nvml.device_count().map_err(absent)?.min(GPUS_MAX);
    if count == 0 {
        let why = "the driver knows no device".to_owned();
        return Err(MeasureError::Absent { why });
    }
    (0..count).map(|index| device(&nvml, index)).collect()
}

fn device(nvml: &Nvml, index: u32) -> Result<GpuFacts, MeasureError> {
    let device = nvml.device_by_index(index).map_err(absent)?;
    let text = |text: String| FactText::new(text.trim());
    Ok(GpuFacts {
        vendor: text("NVIDIA".to_owned())?,
        model: text(device.name().map_err(absent)?)?,
        memory_bytes: device.memory_info().map_err(absent)?.total,
        uuid: text(device.uuid().map_err(absent)?)?,
    })
}

/// What the library said, with what the loader said where it did not load.
fn absent(error: NvmlError) -> MeasureError {
    let why = error.to_string();
    MeasureError::Absent { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_missing_is_an_absence_that_names_it() {
        let library = OsStr::new("libhypermesh-no-such-library.so.1");
        match measure_gpus(library) {
            Err(MeasureError::Absent { why }) => {
                assert!(why.contains("libhypermesh-no-such-library.so.1"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_library_of_something_else_is_an_absence() {
        for library in ["libc.so.6", "/proc/self/cmdline", ""] {
            let measured = measure_gpus(OsStr::new(library));
            let absent = matches!(measured, Err(MeasureError::Absent { .. }));
            assert!(absent, "{library}: {measured:?}");
        }
    }
}
