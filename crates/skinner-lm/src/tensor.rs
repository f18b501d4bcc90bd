//! The decoder in Burn, which runs on any device: a second implementation beside the kernels of
//! [`crate::decoder`], and their oracle.
//!
//! Everything but the choice of a device needs the feature `tensor`. Weights, gradients and moments lie on the
//! device as the same flat array's parts; a batch is packed as on the CPU, and padded within attention alone.
//! Results equal the CPU's up to rounding, not by bits.

#[cfg(feature = "tensor")]
mod arrays;
#[cfg(feature = "tensor")]
mod batch;
#[cfg(feature = "tensor")]
mod device;
#[cfg(feature = "tensor")]
mod generate;
#[cfg(feature = "tensor")]
mod head;
#[cfg(feature = "tensor")]
mod learn;
#[cfg(feature = "tensor")]
mod net;
#[cfg(feature = "tensor")]
mod segments;
#[cfg(all(test, feature = "tensor"))]
mod tests;

use std::str::FromStr;

#[cfg(feature = "tensor")]
pub use device::TensorDevice;
#[cfg(feature = "tensor")]
pub use generate::TensorEngine;
#[cfg(feature = "tensor")]
pub(crate) use learn::TensorLearner;

use crate::error::LmError;

/// What computes a language model, by the name that `--device` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// Our own kernels.
    #[default]
    Cpu,
    /// Burn on the CPU: slow, to compare with.
    Flex,
    /// NVIDIA's GPUs.
    Cuda,
    /// Any GPU with a Vulkan driver.
    Vulkan,
    /// Apple's GPUs.
    Metal,
}

impl DeviceKind {
    /// Every kind, whether it is built in or not.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Flex, Self::Cuda, Self::Vulkan, Self::Metal];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Flex => "flex",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
        }
    }

    /// The cargo feature that builds it in; none for what always is.
    pub const fn feature(self) -> Option<&'static str> {
        match self {
            Self::Cpu => None,
            Self::Flex => Some("tensor"),
            Self::Cuda | Self::Vulkan | Self::Metal => Some(self.as_str()),
        }
    }

    const fn is_built_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Flex => cfg!(feature = "tensor"),
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
        }
    }

    /// The first device of this kind; `threads` are for [`DeviceKind::Cpu`] alone.
    ///
    /// # Errors
    /// A kind that is not built in names the feature that does; one with no device on this machine says so.
    pub fn open(self, threads: usize) -> Result<Machine, LmError> {
        if let Some(feature) = self.feature().filter(|_| !self.is_built_in()) {
            let built = Self::ALL.into_iter().filter(|kind| kind.is_built_in());
            return Err(LmError::Device(format!(
                "--device {} is not built in (this build has {}): build with it, as in \
                 `cargo install --path . --features {feature}`",
                self.as_str(),
                built.map(Self::as_str).collect::<Vec<_>>().join(", ")
            )));
        }
        #[cfg(feature = "tensor")]
        if self != Self::Cpu {
            return TensorDevice::open(self).map(Machine::Tensor);
        }
        Ok(Machine::Cpu { threads })
    }
}

impl FromStr for DeviceKind {
    type Err = LmError;

    fn from_str(name: &str) -> Result<Self, LmError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            LmError::Device(format!("there is no device `{name}`: known are {known}"))
        })
    }
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What computes a language model, ready to.
#[derive(Clone, Debug)]
pub enum Machine {
    /// Our own kernels.
    Cpu {
        /// How many threads.
        threads: usize,
    },
    /// A device of Burn's.
    #[cfg(feature = "tensor")]
    Tensor(TensorDevice),
}

impl Machine {
    /// For `run.json`: the kind, and the device's own name where it has one.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu { .. } => DeviceKind::Cpu.to_string(),
            #[cfg(feature = "tensor")]
            Self::Tensor(device) => device.name().to_owned(),
        }
    }
}

impl From<usize> for Machine {
    /// Our own kernels on so many threads.
    fn from(threads: usize) -> Self {
        Self::Cpu { threads }
    }
}
