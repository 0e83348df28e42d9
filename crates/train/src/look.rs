//! What policies ask to look at without training: sets of experts with tokens re-routed, split tests, units that do not fire,
//! losses with other router biases, growth criteria.
//!
//! The state is not touched but for what it cost.

mod criteria;
mod losses;
mod sets;
mod tokens;
mod units;

use moelt_control::{Findings, Look};
use moelt_data::TokenBatch;
use moelt_schema::Flops;

use crate::{Split, TrainError, TrainState, evaluate::model_input, trial::Arena};

impl Arena<'_> {
    /// Looks, as part of what the run costs.
    ///
    /// # Errors
    /// When the run is asked to stop.
    pub(crate) fn look(&self, state: &mut TrainState, look: &Look) -> Result<Findings, TrainError> {
        let (findings, flops) = match look {
            Look::Elimination { layers, texts, locked, order } => {
                let (found, flops) = self.eliminations(state, layers, *texts, locked, *order)?;
                (Findings::Elimination(found), flops)
            }
            Look::Splits(wanted) => {
                let (found, flops) = self.split_tests(state, wanted)?;
                (Findings::Splits(found), flops)
            }
            Look::Units { experts, texts } => {
                let (found, flops) = self.firing_units(state, experts, *texts)?;
                (Findings::Units(found), flops)
            }
            Look::Losses { biases, texts } => {
                let (found, flops) = self.losses(state, biases, *texts)?;
                (Findings::Losses(found), flops)
            }
            Look::Criteria(wanted) => {
                let (found, flops) = self.criteria(state, wanted)?;
                (Findings::Criteria(found), flops)
            }
        };
        state.pay(flops);
        Ok(findings)
    }

    /// So many validation texts, spread evenly: files are sorted now and then.
    fn spread_texts(&self, n: usize) -> Split {
        let all = self.validation.texts.len();
        let places: Vec<usize> = (0..n.min(all)).map(|i| i * all / n.min(all)).collect();
        self.validation.part(&places).into_owned()
    }

    /// Batches of at least `texts` training texts, or of all that there are, in an order that neither the run nor a fork trains in: of
    /// the texts that the run may see now, from the beginning of a pass on.
    fn training_batches(&self, state: &TrainState, texts: usize) -> Vec<TokenBatch> {
        // No fork has so high a number.
        let mut batches = self.prepared.train.clone().rehearsal(state.step).reordered(u64::MAX);
        let pass = batches.per_epoch().max(1);
        let (mut taken, mut seen) = (Vec::new(), 0);
        for at in state.step.next_multiple_of(pass)..state.step.next_multiple_of(pass) + pass {
            if seen >= texts {
                break;
            }
            let batch = batches.at(at);
            seen += batch.n_texts();
            taken.push(batch);
        }
        taken
    }
}

/// Something for each batch, and what all of it cost.
type Paid<T> = Result<(T, Flops), TrainError>;

/// For each token of a batch, the text that it belongs to.
fn texts_of_tokens(batch: &TokenBatch, routed: usize) -> Vec<u32> {
    if routed == batch.n_texts() {
        return (0..routed as u32).collect();
    }
    let texts = (0..).zip(&batch.lengths);
    texts.flat_map(|(text, length)| std::iter::repeat_n(text, *length)).collect()
}
