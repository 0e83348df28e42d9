//! What a manifest says must fit its config, its layout and itself: hashes only say that nobody changed it since.
//!
//! Every message begins with the key.

use std::collections::BTreeSet;

use crate::{
    EventsPosition, ExpertId, GateState, GatesState, HeadState, LayerId, LayerKind, LayerLayout, LayerSums,
    Layout, LoopState, MAX_STEPS, Manifest, NetworkState, PolicyState, Probe, RampIn, RunConfig, StartConfig,
    TaughtHead, WindowState,
};

type Checked = Result<(), String>;

impl Manifest {
    /// Texts in a probe, at most.
    pub const MAX_PROBES: usize = 4;

    /// The coarsest rounding of products that a probe may have: that of seven bits behind the leading one.
    pub const MOST_ROUNDING: f32 = 0.004;

    /// Refuses a manifest that is not of `config`, or that no run can have written.
    ///
    /// # Errors
    /// What is wrong: the key, its value and what it must be.
    pub fn check(&self, config: &RunConfig) -> Result<(), String> {
        self.check_origin(config)?;
        self.edits.check(&self.layout).map_err(|error| error.to_string())?;
        if let Some(plan) = self.edits.plans.iter().find(|plan| plan.step > self.step) {
            return Err(format!("edits: has a plan of step {}, but this is step {}", plan.step, self.step));
        }
        self.state.check(self, config)?;
        if let Some(validation) = &self.validation {
            validation.check(self.classes.len()).map_err(|message| format!("validation.{message}"))?;
        }
        let EventsPosition { bytes, lines } = self.events;
        ensure(lines <= bytes, || format!("events: {lines} lines in {bytes} bytes"))?;
        self.probe.check(self.classes.len(), config)?;
        unique("optimized", &self.optimized)
    }

    /// Refuses files other than `expected`, be it one that is missing or one more.
    ///
    /// # Errors
    /// The file's name.
    pub fn check_files(&self, expected: &[&str]) -> Result<(), String> {
        let Self { files, .. } = self;
        let missing = expected.iter().find(|name| !files.contains_key(**name));
        let unexpected = files.keys().find(|name| !expected.contains(&name.as_str()));
        match (missing, unexpected) {
            (Some(name), _) => Err(format!("names no file `{name}`")),
            (None, Some(name)) => {
                Err(format!("files: names `{name}`; such a checkpoint has {} alone", expected.join(", ")))
            }
            (None, None) => Ok(()),
        }
    }

    /// Whether it is the run that the config describes.
    fn check_origin(&self, config: &RunConfig) -> Checked {
        let Self { arm, seed, classes, layout, edits, .. } = self;
        let found = config.digest();
        ensure(self.config == found, || {
            format!("config: is {}, but config.toml has hash {found}", self.config)
        })?;
        ensure(*arm == config.arm, || format!("arm: is `{arm}`, but config.toml says `{}`", config.arm))?;
        ensure(*seed == config.seed, || format!("seed: is {seed}, but config.toml says {}", config.seed))?;
        ensure(!classes.is_empty(), || "classes: is empty; a model has at least one".to_owned())?;
        unique("classes", classes)?;
        let (start, model) = (&config.start, &config.model);
        let n_layers = layout.layers().len();
        // A run may take its size from another one, whatever its own config says.
        let own_size = !matches!(start, StartConfig::Size { .. });
        ensure(!own_size || n_layers == model.n_layers, || {
            format!("layout: has {n_layers} layers, but model.n_layers is {} in config.toml", model.n_layers)
        })?;
        let initial = || model.starts_with(&edits.initial);
        ensure(!matches!(start, StartConfig::Scratch {}) || initial(), || {
            "edits.initial: is another layout than the [model] section of config.toml describes".to_owned()
        })
    }
}

impl LoopState {
    fn check(&self, manifest: &Manifest, config: &RunConfig) -> Checked {
        let (step, total) = (manifest.step, self.total_steps);
        ensure((1..=MAX_STEPS).contains(&total), || {
            format!("state.total_steps: is {total}; must be 1 to {MAX_STEPS}")
        })?;
        at_most("step", step, total, "state.total_steps")?;
        at_most("state.evaluations_since_best", self.evaluations_since_best, step, "step")?;
        if let Some(best) = &self.best {
            at_most("state.best.step", best.step, step, "step")?;
            ensure((0.0..=1.0).contains(&best.accuracy), || {
                format!("state.best.accuracy: is {}; must be 0 to 1", best.accuracy)
            })?;
            finite("state.best.loss", &[best.loss])?;
        }
        let windows = Windows { manifest, width: config.model.routed_width() };
        let WindowState { steps, layers, .. } = &self.window;
        at_most("state.window.steps", *steps, step, "step")?;
        finite("state.window", &self.window.means())?;
        windows.check("state.window.layers", layers)?;
        windows.check("state.last_window", &self.last_window)?;
        at_most("state.decision_window.steps", self.decision_window.steps, step, "step")?;
        finite("state.decision_window.loss", &[self.decision_window.loss])?;
        windows.check("state.decision_window.layers", &self.decision_window.layers)?;
        self.policy.check(step, &manifest.layout)?;
        self.check_ramp_ins(manifest)?;
        ensure(self.measuring_flops.is_part_of(self.flops), || {
            let Self { flops, measuring_flops, .. } = self;
            format!("state.measuring_flops: is {measuring_flops}, which is no part of state.flops = {flops}")
        })?;
        not_negative("state.seconds", &[self.seconds])
    }

    /// Every ramp-in is of another expert, behind a router that has biases.
    fn check_ramp_ins(&self, manifest: &Manifest) -> Checked {
        let mut seen = BTreeSet::new();
        for RampIn { layer, expert, since, bias } in &self.ramp_ins {
            let name = || format!("state.ramp_ins, layer {}, expert {}", layer.0, expert.0);
            ensure(is_behind_top_k(&manifest.layout, *layer, *expert), || {
                format!("{}: is no expert behind a top-k router of the layout", name())
            })?;
            ensure(seen.insert((*layer, *expert)), || format!("{}: is there twice", name()))?;
            at_most("state.ramp_ins.since", *since, manifest.step, "step")?;
            finite("state.ramp_ins.bias", &[f64::from(*bias)])?;
        }
        Ok(())
    }
}

/// What sums over a window must be of.
struct Windows<'a> {
    manifest: &'a Manifest,
    /// Of what is routed.
    width: usize,
}

impl Windows<'_> {
    /// Sums of every layer with a router, or none yet.
    fn check(&self, key: &str, sums: &[LayerSums]) -> Checked {
        let layers = self.manifest.layout.layers().iter();
        let routed: Vec<&LayerLayout> = layers.filter(|layer| layer.kind != LayerKind::Dense).collect();
        ensure(sums.is_empty() || sums.len() == routed.len(), || {
            format!("{key}: has sums of {} layers, but {} have a router", sums.len(), routed.len())
        })?;
        let layer =
            |(sums, layout): (&LayerSums, &&LayerLayout)| self.check_layer(key, sums, layout.n_experts());
        sums.iter().zip(&routed).try_for_each(layer)
    }

    fn check_layer(&self, key: &str, sums: &LayerSums, n_experts: usize) -> Checked {
        let LayerSums { tokens, tokens_per_expert, entropy, dropped, .. } = sums;
        let LayerSums { expert_weight, weighted_norm, mass, unrouted, .. } = sums;
        let lists = [
            ("tokens_per_expert", tokens_per_expert),
            ("expert_weight", expert_weight),
            ("weighted_norm", weighted_norm),
            ("mass", mass),
        ];
        for (name, list) in lists {
            ensure(list.len() == n_experts, || {
                format!("{key}: `{name}` has {} numbers for {n_experts} experts", list.len())
            })?;
            finite(key, list)?;
        }
        ensure(unrouted.sum.is_empty() || unrouted.sum.len() == self.width, || {
            format!("{key}: `unrouted.sum` has {} numbers for tokens of {}", unrouted.sum.len(), self.width)
        })?;
        finite(key, &unrouted.sum)?;
        finite(key, &[*entropy])?;
        not_negative(key, tokens_per_expert)?;
        not_negative(key, &[*tokens, *dropped, unrouted.tokens])
    }
}

impl PolicyState {
    fn check(&self, step: u64, layout: &Layout) -> Checked {
        let (decisions, n_layers) = (self.decisions, layout.layers().len());
        at_most("state.policy.decisions", decisions, step, "step")?;
        ensure([0, n_layers].contains(&self.layers.len()), || {
            format!("state.policy.layers: has {} memories of {n_layers} layers", self.layers.len())
        })?;
        for memory in &self.layers {
            let asked = memory.asked_to_prune.values().chain([&memory.asked_to_grow, &memory.turns]);
            for counted in asked.chain(&memory.last_edit) {
                at_most("state.policy.layers", *counted, decisions, "state.policy.decisions")?;
            }
        }
        self.gates.iter().try_for_each(|gates| gates.check(step, layout))?;
        self.head.iter().try_for_each(HeadState::check)
    }
}

impl GatesState {
    /// Every gate is that of another expert, behind a router that has biases.
    fn check(&self, step: u64, layout: &Layout) -> Checked {
        at_most("state.policy.gates.updates", self.updates, step, "step")?;
        let mut seen = BTreeSet::new();
        for GateState { layer, expert, log_alpha, first, second } in &self.gates {
            let name = || format!("state.policy.gates, layer {}, expert {}", layer.0, expert.0);
            ensure(is_behind_top_k(layout, *layer, *expert), || {
                format!("{}: is no expert behind a top-k router of the layout", name())
            })?;
            ensure(seen.insert((*layer, *expert)), || format!("{}: is there twice", name()))?;
            finite("state.policy.gates.log_alpha", &[*log_alpha])?;
            finite("state.policy.gates.first", &[*first])?;
            not_negative("state.policy.gates.second", &[*second])?;
        }
        Ok(())
    }
}

/// Whether a top-k router chooses the expert.
fn is_behind_top_k(layout: &Layout, layer: LayerId, expert: ExpertId) -> bool {
    let routed = layout.layer(layer).filter(|layer| matches!(layer.kind, LayerKind::TopK { .. }));
    routed.is_some_and(|layer| layer.experts.contains(&expert))
}

impl HeadState {
    fn check(&self) -> Checked {
        for NetworkState { weights, first, second, updates } in &self.networks {
            let lists = [weights, first, second];
            ensure(lists.iter().all(|list| list.len() == weights.len()), || {
                "state.policy.head.networks: weights and moments have different lengths".to_owned()
            })?;
            lists.into_iter().try_for_each(|list| finite_f32("state.policy.head.networks", list))?;
            ensure(second.iter().all(|value| *value >= 0.0), || {
                "state.policy.head.networks: a second moment is negative".to_owned()
            })?;
            at_most("state.policy.head.networks.updates", *updates, MAX_STEPS, "the most steps of a run")?;
        }
        for record in &self.records {
            finite_f32("state.policy.head.records", &record.features)?;
            finite("state.policy.head.records", &[record.loss_increase])?;
            not_negative("state.policy.head.records", &[record.standard_error])?;
            at_most("state.policy.head.records", record.step, MAX_STEPS, "the most steps of a run")?;
            at_most("state.policy.head.records", record.steps, MAX_STEPS, "the most steps of a run")?;
        }
        let taught = self.taught.iter().try_for_each(TaughtHead::check);
        taught.map_err(|message| format!("state.policy.head.taught.{message}"))
    }
}

impl Probe {
    fn check(&self, n_classes: usize, config: &RunConfig) -> Checked {
        let (n, most) = (self.inputs.len(), Manifest::MAX_PROBES);
        ensure((1..=most).contains(&n), || format!("probe.inputs: has {n} texts; must be 1 to {most}"))?;
        let tokens = self.inputs.iter().map(Vec::len).find(|n| !(1..=config.text.max_tokens).contains(n));
        ensure(tokens.is_none(), || {
            let most = config.text.max_tokens;
            format!("probe.inputs: a text has {} tokens; must be 1 to {most}", tokens.unwrap_or(0))
        })?;
        ensure((0.0..=Manifest::MOST_ROUNDING).contains(&self.rounding), || {
            format!("probe.rounding: is {}; must be 0 to {}", self.rounding, Manifest::MOST_ROUNDING)
        })?;
        let averaged = config.optim.ema_decay > 0.0;
        ensure(self.ema_logits.is_some() == averaged, || {
            let (is, decay) = (if averaged { "missing" } else { "there" }, config.optim.ema_decay);
            format!("probe.ema_logits: is {is}, but optim.ema_decay is {decay} in config.toml")
        })?;
        let both = [("probe.logits", Some(&self.logits)), ("probe.ema_logits", self.ema_logits.as_ref())];
        for (key, logits) in both.into_iter().filter_map(|(key, logits)| Some((key, logits?))) {
            ensure(logits.len() == n, || format!("{key}: has {} rows for {n} texts", logits.len()))?;
            for row in logits {
                ensure(row.len() == n_classes, || {
                    format!("{key}: has a row of {} numbers for {n_classes} classes", row.len())
                })?;
                finite_f32(key, row)?;
            }
        }
        Ok(())
    }

    /// Refuses tokens that no text can have: one with more than `rows_per_token` rows, or a row that is not one of
    /// the `n_rows` of the embedding table.
    ///
    /// # Errors
    /// What is wrong with which row.
    pub fn check_rows(&self, n_rows: usize, rows_per_token: usize) -> Result<(), String> {
        let mut tokens = self.inputs.iter().flatten();
        if let Some(token) = tokens.clone().find(|token| token.len() > rows_per_token) {
            let n = token.len();
            return Err(format!(
                "probe.inputs: a token has {n} rows; the vocabulary allows {rows_per_token}"
            ));
        }
        let outside = |row: &&u32| **row == 0 || **row as usize >= n_rows;
        match tokens.find_map(|token| token.iter().find(outside)) {
            Some(row) => {
                Err(format!("probe.inputs: has row {row}; the vocabulary has rows 1 to {}", n_rows - 1))
            }
            None => Ok(()),
        }
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(message()) }
}

fn at_most(key: &str, value: u64, most: u64, what: &str) -> Checked {
    ensure(value <= most, || format!("{key}: is {value}; must be at most {most}, {what}"))
}

fn finite(key: &str, values: &[f64]) -> Checked {
    values.iter().try_for_each(|v| ensure(v.is_finite(), || format!("{key}: has {v}; must be finite")))
}

/// A number that is finite as it is written need not be so in single precision.
fn finite_f32(key: &str, values: &[f32]) -> Checked {
    values.iter().try_for_each(|v| finite(key, &[f64::from(*v)]))
}

fn not_negative(key: &str, values: &[f64]) -> Checked {
    let fits = |v: &f64| v.is_finite() && *v >= 0.0;
    values.iter().try_for_each(|v| ensure(fits(v), || format!("{key}: has {v}; must be at least 0")))
}

fn unique(key: &str, names: &[String]) -> Checked {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(format!("{key}: names `{name}` twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_that_no_run_can_have_are_refused_by_key() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let gate = |layer, expert, log_alpha, second| GateState {
            layer: LayerId(layer),
            expert: ExpertId(expert),
            log_alpha,
            first: 0.0,
            second,
        };
        let check = |gates: Vec<GateState>, updates| {
            let gates = Some(GatesState { gates, updates, done: false });
            PolicyState { gates, ..PolicyState::default() }.check(10, &layout)
        };
        let good = || gate(0, 1, 2.0, 0.5);
        assert_eq!(check(vec![good(), gate(0, 0, -3.0, 0.0)], 10), Ok(()));
        let refused = |gates, updates, key: &str| {
            let message = check(gates, updates).unwrap_err();
            assert!(message.starts_with(key), "{message}");
        };
        refused(vec![good()], 11, "state.policy.gates.updates: is 11");
        refused(vec![gate(0, 2, 2.0, 0.5)], 1, "state.policy.gates, layer 0, expert 2: is no expert");
        refused(vec![gate(1, 0, 2.0, 0.5)], 1, "state.policy.gates, layer 1, expert 0: is no expert");
        refused(vec![good(), good()], 1, "state.policy.gates, layer 0, expert 1: is there twice");
        refused(vec![gate(0, 0, f64::NAN, 0.5)], 1, "state.policy.gates.log_alpha");
        refused(vec![gate(0, 0, 1.0, -0.5)], 1, "state.policy.gates.second");
        let dense = Layout::uniform(1, LayerKind::Dense, 1);
        let gates = Some(GatesState { gates: vec![gate(0, 0, 1.0, 0.0)], ..GatesState::default() });
        assert!(PolicyState { gates, ..PolicyState::default() }.check(10, &dense).is_err());
    }
}
