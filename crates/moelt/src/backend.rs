//! The backends that were compiled in, how one is chosen, and how it becomes a device.

use anyhow::Context;
use burn::tensor::Device;

/// Where tensors live. A feature of this crate each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Backend {
    /// CPU.
    #[cfg(feature = "flex")]
    #[cfg_attr(feature = "flex", default)]
    Flex,
    /// GPU through WebGPU, Vulkan or Metal.
    #[cfg(feature = "wgpu")]
    #[cfg_attr(not(feature = "flex"), default)]
    Wgpu,
    /// The first NVIDIA GPU.
    #[cfg(feature = "cuda")]
    #[cfg_attr(not(any(feature = "flex", feature = "wgpu")), default)]
    Cuda,
}

#[cfg(not(any(feature = "flex", feature = "wgpu", feature = "cuda")))]
compile_error!("moelt needs a backend: enable one of the features flex, wgpu, cuda");

/// Where a command computes.
#[derive(clap::Args, Debug)]
pub(crate) struct DeviceArgs {
    /// Backend; only those compiled in can be chosen.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: Backend,
    /// CPU threads; results do not depend on it. Default: all cores.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

impl DeviceArgs {
    /// The device asked for, with the thread pool set up.
    pub(crate) fn open(&self) -> anyhow::Result<Device> {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()
                .context("the thread pool was set up already")?;
        }
        Ok(match self.device {
            #[cfg(feature = "flex")]
            Backend::Flex => Device::flex(),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(feature = "cuda")]
            Backend::Cuda => Device::cuda(0),
        })
    }
}
