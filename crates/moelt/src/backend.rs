//! The backends, which of them were compiled in, how one is chosen, and how it becomes a device.

use std::{fmt, str::FromStr, thread};

use anyhow::{Context, bail};
use burn::tensor::{Device, DeviceType};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Bytes of a thread's stack: those of a main thread.
const STACK: usize = 8 << 20;

/// Where tensors live. A feature of this crate each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// CPU.
    Flex,
    /// GPU through WebGPU, Vulkan or Metal.
    Wgpu,
    /// NVIDIA GPU.
    Cuda,
}

#[cfg(not(any(feature = "flex", feature = "wgpu", feature = "cuda")))]
compile_error!("moelt needs a backend: enable one of the features flex, wgpu, cuda");

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::Flex, Self::Wgpu, Self::Cuda];

    /// The devices that there are; none where the backend was not compiled in.
    pub(crate) fn devices(self) -> Option<Vec<Device>> {
        let device_type = match self {
            #[cfg(feature = "flex")]
            Self::Flex => DeviceType::Flex,
            #[cfg(feature = "wgpu")]
            Self::Wgpu => DeviceType::Wgpu,
            #[cfg(feature = "cuda")]
            Self::Cuda => DeviceType::Cuda,
            #[allow(unreachable_patterns, reason = "with all features there is no other")]
            _ => return None,
        };
        Some(Device::enumerate(device_type).into_vec())
    }

    /// A device in a few words.
    pub(crate) fn describe(self, device: &Device) -> String {
        if self == Self::Flex {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            return format!("CPU, {threads} threads");
        }
        name(device)
    }

    /// The first device, or the one that WebGPU prefers.
    fn open(self) -> anyhow::Result<Device> {
        let devices = self.devices();
        let devices = devices.with_context(|| format!("`{self}` was not compiled in; {SEE_DEVICES}"))?;
        match devices.into_iter().next() {
            #[cfg(feature = "wgpu")]
            Some(_) if self == Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            Some(device) => Ok(device),
            None => bail!("there is no device for `{self}`; {SEE_DEVICES}"),
        }
    }
}

const SEE_DEVICES: &str = "`moelt devices` lists what can be used";

/// What a device calls itself.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn name(device: &Device) -> String {
    device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name)
}

/// Without GPU backends no device has a name.
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn name(device: &Device) -> String {
    format!("{device:?}")
}

impl Default for Backend {
    fn default() -> Self {
        if cfg!(feature = "flex") {
            Self::Flex
        } else if cfg!(feature = "wgpu") {
            Self::Wgpu
        } else {
            Self::Cuda
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|backend| backend.to_string() == name);
        known.ok_or_else(|| format!("there are flex, wgpu and cuda; {SEE_DEVICES}"))
    }
}

/// Where a command computes.
#[derive(clap::Args, Debug)]
pub(crate) struct DeviceArgs {
    /// Backend: flex (CPU), wgpu (GPU through WebGPU, Vulkan or Metal) or cuda (the first NVIDIA GPU), as far as they were
    /// compiled in: see `moelt devices`.
    #[arg(long, value_name = "BACKEND", default_value_t)]
    pub(crate) device: Backend,
    /// CPU threads; results do not depend on it. Default: all cores.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

impl DeviceArgs {
    /// Threads to compute with. A command runs on one of them: there a parallel loop, of which a step has dozens, begins
    /// at once; begun elsewhere it would wake another thread and wait for it, which costs more than a small loop does.
    pub(crate) fn pool(&self) -> anyhow::Result<ThreadPool> {
        let threads = self.threads.unwrap_or(0); // 0: as many as there are cores
        let builder = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK);
        builder.build().context("starting threads")
    }

    /// The device asked for.
    pub(crate) fn open(&self) -> anyhow::Result<Device> {
        self.device.open()
    }
}
