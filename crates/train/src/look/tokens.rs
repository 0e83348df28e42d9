//! Split tests on tokens of training texts.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::{module::Module, tensor::activation::softmax};
use moelt_control::{ExpertRows, SplitTestConfig, TestedExpert, TokensToTest, promising, split_test};
use moelt_data::TokenBatch;
use moelt_model::{Mode, ModelOutput, RoutedTokens};
use moelt_schema::{ExpertId, Flops, LayerId};

use super::{Paid, model_input, texts_of_tokens};
use crate::{TrainState, effect::cross_entropies, evaluate::host, trial::Arena};

/// What was seen of the tokens of one expert.
#[derive(Default)]
struct Tokens {
    x: Vec<f32>,
    /// Number of the text of each, over all batches.
    texts: Vec<u32>,
}

/// What was seen of all texts.
#[derive(Default)]
struct Texts {
    /// Where they stand in the training split: none is seen twice, or it would stand on both sides of a test.
    examples: HashSet<usize>,
    labels: Vec<u32>,
    probs: Vec<f32>,
    losses: Vec<f64>,
    n_classes: usize,
    experts: BTreeMap<(LayerId, usize), Tokens>,
}

impl Texts {
    fn add(&mut self, batch: &TokenBatch, output: ModelOutput) {
        let first = self.labels.len() as u32;
        let is_new: Vec<bool> = batch.examples.iter().map(|example| self.examples.insert(*example)).collect();
        let [_, n_classes] = output.logits.dims();
        self.n_classes = n_classes;
        self.labels.extend(&batch.labels);
        self.losses.extend(cross_entropies(output.logits.clone(), &batch.labels));
        self.probs.extend(host(softmax(output.logits, 1)));
        for (layer, RoutedTokens { seen, dispatch, .. }) in output.routed {
            let [tokens, d_model] = seen.dims();
            let (x, texts) = (host(seen), texts_of_tokens(batch, tokens));
            for (pair, expert) in dispatch.experts().iter().enumerate() {
                let token = pair / dispatch.k();
                if !is_new[texts[token] as usize] {
                    continue;
                }
                let of_expert = self.experts.entry((layer, *expert as usize)).or_default();
                of_expert.x.extend(&x[token * d_model..(token + 1) * d_model]);
                of_expert.texts.push(first + texts[token]);
            }
        }
    }

    /// Mean loss of the texts of some tokens, nats.
    fn loss(&self, tokens: &Tokens) -> f64 {
        let losses = tokens.texts.iter().map(|text| self.losses[*text as usize]);
        losses.sum::<f64>() / tokens.texts.len().max(1) as f64
    }

    /// So many tokens of an expert, of as many texts as there can be: each text gives one, then each a second one, and so on. What
    /// counts in a test are texts.
    fn rows(&self, tokens: &Tokens, most: usize) -> ExpertRows {
        let d_model = tokens.x.len() / tokens.texts.len().max(1);
        let mut given: HashMap<u32, usize> = HashMap::new();
        let mut order: Vec<(usize, usize)> = Vec::with_capacity(tokens.texts.len());
        for (token, text) in tokens.texts.iter().enumerate() {
            let of_text = given.entry(*text).or_default();
            order.push((*of_text, token));
            *of_text += 1;
        }
        order.sort_unstable();
        order.truncate(most);
        let texts: Vec<u32> = order.iter().map(|(_, token)| tokens.texts[*token]).collect();
        let probs = |text: &u32| {
            let from = *text as usize * self.n_classes;
            &self.probs[from..from + self.n_classes]
        };
        ExpertRows {
            x: order.iter().flat_map(|(_, token)| &tokens.x[token * d_model..][..d_model]).copied().collect(),
            d_model,
            labels: texts.iter().map(|text| self.labels[*text as usize]).collect(),
            n_classes: self.n_classes,
            probs: texts.iter().flat_map(probs).copied().collect(),
            texts,
        }
    }
}

impl Arena<'_> {
    pub(super) fn split_tests(&self, state: &TrainState, wanted: &TokensToTest) -> Paid<Vec<TestedExpert>> {
        let model = state.model().valid();
        let (mut texts, mut flops) = (Texts::default(), Flops::default());
        for batch in self.training_batches(state, wanted.texts) {
            self.interrupt.check()?;
            let output = model.forward(&model_input(&batch), Mode::Eval);
            flops += output.flops;
            texts.add(&batch, output);
        }
        let mut found = Vec::new();
        for (layer, id) in state.layout.layers().iter().zip((0..).map(LayerId)) {
            self.interrupt.check()?;
            found.extend(tested(&texts, id, &layer.experts, wanted));
        }
        let tests = found.iter().filter_map(|tested: &TestedExpert| tested.evidence.as_ref());
        flops += Flops::unpadded(tests.map(|evidence| evidence.flops).sum());
        Ok((found, flops))
    }
}

/// The experts of a layer that have tokens, those that promise most tested first, until the tokens are used up.
fn tested(texts: &Texts, layer: LayerId, experts: &[ExpertId], wanted: &TokensToTest) -> Vec<TestedExpert> {
    let config = SplitTestConfig::default();
    let of = |at: usize| texts.experts.get(&(layer, at));
    let all: usize = (0..experts.len()).filter_map(of).map(|tokens| tokens.texts.len()).sum();
    let mut found: Vec<(TestedExpert, &Tokens)> = (0..experts.len())
        .filter_map(|at| {
            let tokens = of(at)?;
            let (utilization, loss) = (tokens.texts.len() as f64 / all as f64, texts.loss(tokens));
            let tested = TestedExpert { layer, expert: experts[at], utilization, loss, evidence: None };
            Some((tested, tokens))
        })
        .collect();
    let seen: Vec<(usize, f64)> = found.iter().map(|(one, tokens)| (tokens.texts.len(), one.loss)).collect();
    let mut left = wanted.tokens;
    for at in promising(&seen, config.least_rows) {
        let (one, tokens) = &mut found[at];
        let most = wanted.tokens_per_expert.min(left);
        if most.min(tokens.texts.len()) < config.least_rows {
            break;
        }
        let rows = texts.rows(tokens, most);
        left -= rows.labels.len();
        one.evidence = split_test(&rows, &config);
    }
    found.into_iter().map(|(one, _)| one).collect()
}
