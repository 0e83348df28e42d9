//! Heads on labels.

use moelt_schema::{
    ControlConfig, EntropyLabels, ExpertId, ExpertInit, LayerId, LayerKind, LayerSums, PolicyConfig,
};

use super::*;
use crate::{Action, live_gradient};

fn config(labels: LabelConfig) -> LabelHeadConfig {
    LabelHeadConfig { labels, cooldown: 0, ..LabelHeadConfig::default() }
}

fn entropy() -> LabelHeadConfig {
    config(LabelConfig::Entropy(EntropyLabels::default()))
}

fn edits() -> EditsConfig {
    EditsConfig { every: 10, warmup: 0.0, until: 1.0, ..EditsConfig::default() }
}

fn labelled(config: LabelHeadConfig, edits: EditsConfig) -> LabelHead {
    LabelHead::new(config, edits, 3, PolicyState::default()).unwrap()
}

fn layout(n_layers: usize, n: usize) -> Layout {
    Layout::uniform(n_layers, LayerKind::TopK { k: 1 }, n)
}

/// Two experts with these tokens and this routing entropy / ln 2.
fn sums(tokens: [f64; 2], routing: f64) -> LayerSums {
    let routed = tokens[0] + tokens[1];
    LayerSums {
        tokens: routed,
        tokens_per_expert: tokens.into(),
        entropy: routing * routed * 2f64.ln(),
        ..LayerSums::zeros(2)
    }
}

fn window(step: u64, sums: &[LayerSums]) -> StatsWindow<'_> {
    StatsWindow { step, total_steps: 100_000, sums, loss: 0.5, ramping_in: &[] }
}

#[test]
fn a_head_on_entropies_does_as_its_labels_said() {
    let (unsure, concentrated, between) =
        (sums([5.0, 5.0], 0.9), sums([9.0, 1.0], 0.1), sums([5.0, 5.0], 0.3));
    let mut head = labelled(entropy(), edits());
    for step in 1..=600 {
        let shown = [&unsure, &concentrated, &between][step as usize % 3];
        head.learn(&window(step, std::slice::from_ref(shown)), &layout(1, 2));
    }
    let mut decide =
        |sums: &LayerSums| head.decide(&window(700, std::slice::from_ref(sums)), &layout(1, 2)).action;
    let grow = Edit::Grow { layer: LayerId(0), new: ExpertId(2), init: ExpertInit::Fresh };
    assert_eq!(decide(&unsure), Action::Apply(vec![grow]));
    assert_eq!(decide(&between), Action::Keep);
    let prune = Edit::Prune { layer: LayerId(0), expert: ExpertId(1) };
    assert_eq!(decide(&concentrated), Action::Apply(vec![prune]));
}

#[test]
fn layers_are_edited_together_and_what_is_not_allowed_is_kept_with_a_reason() {
    let unsure = [sums([5.0, 5.0], 0.9), sums([5.0, 5.0], 0.9)];
    let grown = |max_experts| {
        let mut head = labelled(entropy(), EditsConfig { max_experts, ..edits() });
        for step in 1..=200 {
            head.learn(&window(step, &unsure), &layout(2, 2));
        }
        head.decide(&window(300, &unsure), &layout(2, 2))
    };
    let grow = |layer, id| Edit::Grow { layer: LayerId(layer), new: ExpertId(id), init: ExpertInit::Fresh };
    assert_eq!(grown(3).action, Action::Apply(vec![grow(0, 2), grow(1, 3)]));
    let kept = grown(2);
    assert_eq!(kept.action, Action::Keep);
    assert!(kept.reason.starts_with("layer 0 would grow, but that is not allowed with 2 experts: keep 0."));
    let labels = kept.evidence.layers[1].labels;
    assert_eq!((labels.picked, labels.entropy, labels.random), (Some(Label::Grow), Some(Label::Grow), None));
}

/// `head-random`: the edit rate is that of the labels.
#[test]
fn a_head_on_chance_samples_its_actions() {
    let (even, layout) = ([sums([5.0, 5.0], 0.5)], layout(1, 2));
    let mut head = labelled(config(LabelConfig::Random {}), edits());
    let mut picked = [0; 3];
    for step in 1..=20_000 {
        head.learn(&window(step, &even), &layout);
        if step % 10 == 0 {
            let decision = head.decide(&window(step, &even), &layout);
            picked[index(decision.evidence.layers[0].labels.picked.unwrap())] += 1;
        }
    }
    for (label, expected) in [(Label::Keep, 1000), (Label::Grow, 600), (Label::Prune, 400)] {
        let count: i32 = picked[index(label)];
        assert!((count - expected).abs() < 120, "{label:?}: {count}, not {expected}");
    }
}

#[test]
fn chance_falls_into_the_part_of_a_label() {
    let pick = |chance| sample(&[0.5, 0.25, 0.25], chance);
    assert_eq!(
        [0.0, 0.24, 0.25, 0.74, 0.75, 0.99].map(pick),
        [Label::Grow, Label::Grow, Label::Keep, Label::Keep, Label::Prune, Label::Prune]
    );
    assert_eq!(most_probable(&[0.2, 0.4, 0.4]), Label::Grow);
}

#[test]
fn only_the_joint_control_asks_something_of_the_router() {
    let unsure = [sums([6.0, 4.0], 0.9)];
    let gradient = |joint| {
        let labels = LabelConfig::Entropy(EntropyLabels { joint, ..EntropyLabels::default() });
        let state = labelled(config(labels.clone()), edits()).state();
        let policy = PolicyConfig::LabelHead(config(labels));
        let control = ControlConfig { policy, edits: edits() };
        live_gradient(&control, 3, &state, &window(1, &unsure), &layout(1, 2))
    };
    assert_eq!(gradient(0.0), []);
    let joint = gradient(0.1);
    assert_eq!(joint.len(), 1);
    assert!(joint[0].loss > 0.0 && joint[0].routing_entropy != 0.0 && joint[0].load_entropy != 0.0);
    assert_eq!(gradient(0.2), joint, "the trainer multiplies by alpha");
}

#[test]
fn a_state_of_another_head_is_refused() {
    let state = labelled(entropy(), edits()).state();
    let wider = LabelHeadConfig { hidden: 17, ..entropy() };
    assert!(matches!(LabelHead::new(wider, edits(), 3, state), Err(PolicyError::OtherHead)));
}
