//! A policy is data in, data out: what the rule makes of a router that leaves an expert idle.
//!
//!     cargo run --release --example decide

use moelt_control::{Action, Given, OwnPolicies, StatsWindow, policy};
use moelt_schema::{
    ControlConfig, EditsConfig, LayerKind, LayerSums, Layout, PolicyConfig, PolicyState, RuleConfig,
};

fn main() -> Result<(), moelt_control::PolicyError> {
    let edits = EditsConfig { warmup: 0.0, ..EditsConfig::default() };
    let config = ControlConfig { policy: PolicyConfig::Rule(RuleConfig::default()), edits };
    let (given, own) = (Given::default(), OwnPolicies::default());
    let mut rule = policy(&config, 7, 1000, given, PolicyState::default(), &own)?;

    // 100 tokens, top-1: none of them went to expert 1.
    let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 3);
    let sums = LayerSums {
        tokens: 100.0,
        tokens_per_expert: vec![60.0, 0.0, 40.0],
        entropy: 30.0,
        ..LayerSums::zeros(3)
    };
    for step in [50, 100] {
        let window = StatsWindow {
            step,
            total_steps: 1000,
            sums: std::slice::from_ref(&sums),
            loss: 1.0,
            ramping_in: &[],
        };
        let decision = rule.decide(&window, &layout);
        println!("step {step}: {}", decision.reason);
        assert_eq!(matches!(decision.action, Action::Apply(_)), step == 100);
    }
    Ok(())
}
