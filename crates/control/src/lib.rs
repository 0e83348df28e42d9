//! Policies: who decides, from what a router did, when a Mixture of Experts grows and sheds experts.
//!
//! A policy reads the routing sums of the steps since its last decision ([`StatsWindow`]) and answers with
//! data ([`Decision`]): keep the experts, apply these edits, or measure these candidates on a copy first.
//! It touches no model and no files. All it remembers is a [`PolicyState`](moelt_schema::PolicyState), so
//! that a resumed run decides as an uninterrupted one.
//!
//! Two kinds of policy measure what edits are worth ([`Gain`]) after training candidates on forks ([`Trial`]):
//! look-ahead always does, and the [`head`] that learns from measured effects does where it is unsure. Heads
//! that learn from labels ([`Label`](moelt_schema::Label)) are there as negative controls. All of them see a layer as [`Features`](moelt_schema::Features).
//!
//! Here one expert that tokens leave idle is named after its second idle window:
//!
//! ```
//! use moelt_control::{Action, Given, OwnPolicies, StatsWindow, policy};
//! use moelt_schema::{
//!     ControlConfig, Edit, EditsConfig, ExpertId, LayerId, LayerKind, LayerSums, Layout, PolicyConfig, PolicyState,
//!     RuleConfig,
//! };
//!
//! let edits = EditsConfig { warmup: 0.0, ..EditsConfig::default() };
//! let config = ControlConfig { policy: PolicyConfig::Rule(RuleConfig::default()), edits };
//! let mut rule = policy(&config, 7, 1000, Given::default(), PolicyState::default(), &OwnPolicies::default())?;
//! let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 3);
//! // 100 tokens, top-1: none of them went to expert 1.
//! let sums = LayerSums { tokens: 100.0, tokens_per_expert: vec![60.0, 0.0, 40.0], entropy: 30.0, ..LayerSums::zeros(3) };
//! let window = |step| StatsWindow { step, total_steps: 1000, sums: std::slice::from_ref(&sums), loss: 1.0, ramping_in: &[] };
//!
//! assert_eq!(rule.decide(&window(50), &layout).action, Action::Keep);
//! let decision = rule.decide(&window(100), &layout);
//! let prune = Edit::Prune { layer: LayerId(0), expert: ExpertId(1) };
//! assert_eq!(decision.action, Action::Apply(vec![prune]));
//! assert!(decision.reason.starts_with("layer 0 prunes expert 1: "));
//! assert_eq!(decision.evidence.layers[0].saliency[&ExpertId(1)], 0.0);
//! # Ok::<(), moelt_control::PolicyError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod decision;
mod edits;
mod error;
mod features;
mod flops;
mod gain;
mod growth_criteria;
pub mod head;
mod labels;
mod layer_view;
mod look;
mod moves;
mod policy;
mod records;
mod rows;
mod saliency;
mod split_test;
mod step_biases;
mod timing;

pub use decision::{
    Action, Decision, LiveGradient, MeasuredEffect, Race, Replicate, StatsWindow, StopRule, Trial,
};
pub use error::PolicyError;
pub use gain::{Gain, better_half, race};
pub use growth_criteria::{ExpertGradients, LayerGradients, growth_criteria};
pub use labels::random_label;
pub use look::{
    Eliminated, Elimination, Findings, FiringUnits, Look, TestedExpert, TokensToTest, eliminate,
    eliminate_in_order, promising,
};
pub use policy::{Given, OwnPolicies, Policy, PolicyStart, live_gradient, policy};
pub use records::{measured_gain, records};
pub use split_test::{ExpertRows, Gate, SplitEvidence, SplitTestConfig, split_test};
pub use step_biases::{CLOSED, StepBiases};
