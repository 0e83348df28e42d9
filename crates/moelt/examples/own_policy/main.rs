//! A policy of one's own in an ablation, beside moelt's arms. A phase file names it (configs/phases/shrink.toml here):
//!
//!     cargo run --release --example own_policy -- \
//!         --configs crates/moelt/examples/own_policy/configs ablate --phases moe,frozen-4,shrink --seeds 2

use std::process::ExitCode;

use moelt::{
    control::{Decision, OwnPolicies, Policy, PolicyStart, StatsWindow},
    schema::{Evidence, Layout, Plan},
};

/// Prunes the expert with the fewest tokens at every decision, down to `keep` experts.
struct Shrink {
    keep: usize,
}

impl Policy for Shrink {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        let experts = &layout.layers()[0].experts;
        let evidence = Evidence::default().with("n_experts", experts.len() as f64);
        let by_tokens = experts.iter().zip(&window.sums[0].tokens_per_expert);
        match by_tokens.min_by(|one, other| one.1.total_cmp(other.1)) {
            Some((expert, tokens)) if experts.len() > self.keep => {
                let prune = Plan::new(window.step).prune(expert.0).edits(layout);
                Decision::apply(prune, format!("expert {} got {tokens} tokens", expert.0), evidence)
            }
            _ => Decision::keep("few enough", evidence),
        }
    }
}

fn main() -> ExitCode {
    let shrink = |start: &PolicyStart| Shrink {
        keep: start.config.parameters.get("keep").map_or(1, |keep| *keep as usize),
    };
    moelt::run(&OwnPolicies::default().with("shrink", shrink))
}
