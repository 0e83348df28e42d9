//! A fork that waits for others, on disk: of what it has learnt nothing is in memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

use moelt_optim::{AverageState, HostTensor, ParamState, export, import};
use moelt_schema::LoopState;

use crate::TrainState;

/// What a fork has become since it began. Its weights, moments and averages lie in a file without a name, which is
/// gone with this value or with the process, however that ends.
pub(super) struct Waiting {
    file: File,
    step: u64,
    progress: LoopState,
    /// Shape and steps of each parameter that the optimizer knows.
    optimized: BTreeMap<String, (Vec<usize>, Vec<u64>)>,
    /// Each average without its weights.
    averaged: BTreeMap<String, AverageState>,
}

impl Waiting {
    /// Puts a fork aside in a file in `folder`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn new(fork: &TrainState, folder: &Path) -> io::Result<Self> {
        let mut out = BufWriter::new(tempfile::tempfile_in(folder)?);
        for tensor in export(fork.model()).values() {
            write(&mut out, &tensor.data)?;
        }
        let (mut optimized, mut averaged) = (BTreeMap::new(), BTreeMap::new());
        for (path, state) in fork.trainable.optimizer.state() {
            write(&mut out, &state.moment_1)?;
            write(&mut out, &state.moment_2)?;
            optimized.insert(path.clone(), (state.shape.clone(), state.steps.clone()));
        }
        for (path, state) in fork.trainable.average.iter().flat_map(|average| average.state()) {
            write(&mut out, &state.weights.data)?;
            let weights = HostTensor { shape: state.weights.shape.clone(), data: Vec::new() };
            let (row_axis, updates) = (state.row_axis, state.updates.clone());
            averaged.insert(path.clone(), AverageState { weights, row_axis, updates });
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { file, step: fork.step, progress: fork.progress.clone(), optimized, averaged })
    }

    /// The fork as it was put aside, made of what it was when it began.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn resume(mut self, mut fork: TrainState) -> io::Result<TrainState> {
        self.file.rewind()?;
        let mut from = BufReader::new(self.file);
        let mut weights = export(fork.model());
        weights.values_mut().try_for_each(|tensor| read(&mut from, &mut tensor.data))?;
        fork.trainable.module =
            import(fork.trainable.module, weights).expect("paths and shapes are the fork's own");
        let mut optimized = BTreeMap::new();
        for (path, (shape, steps)) in self.optimized {
            let mut state = ParamState { steps, ..ParamState::new(&shape, 0) };
            read(&mut from, &mut state.moment_1)?;
            read(&mut from, &mut state.moment_2)?;
            optimized.insert(path, state);
        }
        fork.trainable.optimizer = fork.trainable.optimizer.with_state(optimized);
        for (path, mut state) in self.averaged {
            let HostTensor { shape, data } = &mut state.weights;
            data.resize(shape.iter().product(), 0.0);
            read(&mut from, data)?;
            let average =
                fork.trainable.average.as_mut().expect("a fork that averaged begins with an average");
            average.set_state_of(&path, Some(state));
        }
        (fork.step, fork.progress) = (self.step, self.progress);
        Ok(fork)
    }
}

fn write(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

fn read(from: &mut impl Read, values: &mut [f32]) -> io::Result<()> {
    let mut bytes = [0; size_of::<f32>()];
    for value in values {
        from.read_exact(&mut bytes)?;
        *value = f32::from_le_bytes(bytes);
    }
    Ok(())
}
