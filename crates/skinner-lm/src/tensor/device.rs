//! A device of Burn's.

use burn_tensor::{DType, Device, DeviceType};
use skinner_nn::matrix::Precision;

use super::DeviceKind;
use crate::error::LmError;

/// A device that Burn computes on, found and ready.
#[derive(Clone, Debug)]
pub struct TensorDevice {
    kind: DeviceKind,
    name: String,
    pub(super) handle: Device,
}

impl TensorDevice {
    /// The first device of a kind that is built in.
    ///
    /// # Errors
    /// When this machine has none.
    pub(super) fn open(kind: DeviceKind) -> Result<Self, LmError> {
        let wanted = match kind {
            DeviceKind::Cpu => None,
            DeviceKind::Flex => Some(DeviceType::Flex),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda => Some(DeviceType::Cuda),
            #[cfg(feature = "vulkan")]
            DeviceKind::Vulkan => Some(DeviceType::Vulkan),
            #[cfg(feature = "metal")]
            DeviceKind::Metal => Some(DeviceType::Metal),
            #[cfg(not(all(feature = "cuda", feature = "vulkan", feature = "metal")))]
            _ => None,
        };
        // Asking for a list opens no device, and finds none where there is no driver.
        let found = wanted.and_then(|wanted| Device::enumerate(wanted).into_iter().next());
        let Some(handle) = found else {
            return Err(LmError::Device(format!(
                "--device {kind}: this machine has no such device, or no driver for it; `--device cpu` needs none"
            )));
        };
        let name = match identity(&handle) {
            Some(name) => format!("{kind}: {name}"),
            None => kind.to_string(),
        };
        Ok(Self { kind, name, handle })
    }

    /// Which kind.
    pub fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// The kind, and the device's own name where it has one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether products are computed in bf16.
    ///
    /// # Errors
    /// When they are to be, and the device cannot.
    pub(super) fn halves(&self, precision: Precision) -> Result<bool, LmError> {
        let half = precision == Precision::Bf16;
        if half && !self.handle.supports_dtype(DType::BF16) {
            let what = format!("{} does not compute in bf16: use the precision f32", self.name);
            return Err(LmError::Device(what));
        }
        Ok(half)
    }
}

#[cfg(any(feature = "cuda", feature = "vulkan", feature = "metal"))]
fn identity(device: &Device) -> Option<String> {
    device.identity().map(|identity| identity.name)
}

#[cfg(not(any(feature = "cuda", feature = "vulkan", feature = "metal")))]
fn identity(_: &Device) -> Option<String> {
    None
}
