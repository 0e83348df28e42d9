//! The backends that were compiled in, how one is chosen, and how it becomes a device.

use anyhow::Context;
use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Bytes of a thread's stack: those of a main thread.
const STACK: usize = 8 << 20;

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
    /// Threads to compute with. A command runs on one of them: there a parallel loop, of which a step has dozens, begins
    /// at once; begun elsewhere it would wake another thread and wait for it, which costs more than a small loop does.
    pub(crate) fn pool(&self) -> anyhow::Result<ThreadPool> {
        let threads = self.threads.unwrap_or(0); // 0: as many as there are cores
        let builder = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK);
        builder.build().context("starting threads")
    }

    /// The device asked for.
    pub(crate) fn open(&self) -> anyhow::Result<Device> {
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
