//! The largest values that a config may have: far beyond what anybody trains, and small enough that no product of
//! them overflows and no list that is as long as one of them fills the memory.
//!
//! Whether a machine can hold what a config asks for is another question, which `moelt-train` answers.

use crate::{MAX_STEPS, RunConfig, TextConfig};

impl RunConfig {
    /// Refuses numbers beyond their bounds.
    pub(crate) fn check_bounds(&self) -> Result<(), (&'static str, String)> {
        self.text.check()?;
        let own = self.sizes().into_iter().chain(self.steps()).chain(self.planted());
        within(own)
    }

    /// What the sizes of tensors and of batches are made of.
    fn sizes(&self) -> Vec<(&'static str, u64, u64)> {
        let (model, train) = (&self.model, &self.train);
        vec![
            // TOML has no larger number.
            ("seed", self.seed, i64::MAX as u64),
            ("model.d_model", model.d_model as u64, 1_000_000),
            ("model.d_ff", model.d_ff as u64, 100_000_000),
            ("model.n_layers", model.n_layers as u64, 1_000),
            ("model.n_experts", model.n_experts as u64, 10_000),
            ("model.top_k", model.top_k as u64, 10_000),
            ("model.conv_width", model.conv_width as u64, 9_999),
            ("train.batch_size", train.batch_size as u64, 100_000_000),
            ("control.max_experts", self.control.max_experts as u64, 10_000),
            ("control.head_hidden", self.control.head_hidden as u64, 65_536),
        ]
    }

    /// Numbers that are added to or multiplied with a step.
    fn steps(&self) -> Vec<(&'static str, u64, u64)> {
        let control = &self.control;
        vec![
            ("control.every", control.every, MAX_STEPS),
            ("control.horizon", control.horizon, MAX_STEPS),
            ("control.race_every", control.race_every, MAX_STEPS),
            ("control.opening", control.opening, MAX_STEPS),
            ("control.cooldown", control.cooldown, MAX_STEPS),
            ("control.confirm", control.confirm, MAX_STEPS),
        ]
    }

    /// What is generated.
    fn planted(&self) -> Vec<(&'static str, u64, u64)> {
        let planted = &self.data.planted;
        vec![
            ("data.planted.seed", planted.seed, i64::MAX as u64),
            ("data.planted.domains", planted.domains as u64, 10_000),
            ("data.planted.polar_words", planted.polar_words as u64, 1_000_000),
            ("data.planted.markers_per_domain", planted.markers_per_domain as u64, 1_000_000_000),
            ("data.planted.filler_words", planted.filler_words as u64, 1_000_000_000),
            ("data.planted.markers_per_text", planted.markers_per_text as u64, 100_000),
            ("data.planted.polar_per_text", planted.polar_per_text as u64, 100_000),
            ("data.planted.fillers_per_text", planted.fillers_per_text as u64, 100_000),
            ("data.planted.train", planted.train as u64, 1_000_000_000),
            ("data.planted.selection", planted.selection as u64, 1_000_000_000),
            ("data.planted.verdict", planted.verdict as u64, 1_000_000_000),
            ("data.planted.times", planted.times as u64, 1_000_000),
            ("data.sst2.split_seed", self.data.sst2.split_seed, i64::MAX as u64),
            ("data.csv.split_seed", self.data.csv.split_seed, i64::MAX as u64),
        ]
    }
}

impl TextConfig {
    /// Places per token that parts of words may take: a batch has room for all of them.
    const MAX_PARTS: usize = 64;

    /// Refuses what would make every token as large as a text.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let (parts, most) = (&self.subwords, Self::MAX_PARTS as u64);
        within([
            ("text.subwords.max_parts", parts.max_parts as u64, most),
            ("text.subwords.prefixes", parts.prefixes.len() as u64, most),
        ])
    }
}

/// The first of these (key, value, bound) that lies beyond its bound.
fn within(numbers: impl IntoIterator<Item = (&'static str, u64, u64)>) -> Result<(), (&'static str, String)> {
    match numbers.into_iter().find(|(_, value, most)| value > most) {
        Some((key, value, most)) => Err((key, format!("is {value}; must be at most {most}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_far_beyond_any_use_are_refused_by_key_before_anything_is_made_of_them() {
        type Change = fn(&mut RunConfig);
        let cases: [(Change, &str); 12] = [
            (|c| c.seed = u64::MAX, "seed"),
            (|c| c.model.d_model = 1_000_000_000, "model.d_model"),
            (|c| c.model.d_ff = usize::MAX, "model.d_ff"),
            (|c| c.model.n_layers = 1_000_000_000_000, "model.n_layers"),
            (|c| c.model.n_experts = 1_000_000_000_000, "model.n_experts"),
            (|c| c.model.top_k = usize::MAX, "model.top_k"),
            (|c| c.model.conv_width = 100_000_001, "model.conv_width"),
            (|c| c.train.batch_size = usize::MAX, "train.batch_size"),
            (|c| c.control.head_hidden = usize::MAX, "control.head_hidden"),
            (|c| c.control.horizon = u64::MAX, "control.horizon"),
            (|c| c.data.planted.train = 1_000_000_000_000_000, "data.planted.train"),
            (|c| c.text.subwords.max_parts = usize::MAX, "text.subwords.max_parts"),
        ];
        for (change, key) in cases {
            let mut config = RunConfig::default();
            change(&mut config);
            let (found, message) = config.check().unwrap_err();
            assert_eq!(found, key);
            assert!(message.contains("must be at most"), "{key}: {message}");
        }
    }
}
