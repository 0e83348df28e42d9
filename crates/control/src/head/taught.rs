//! A head that was taught once: how it is taught, what it forecasts, and how good its forecasts are on tasks that it
//! has not seen.

use moelt_schema::{
    EffectHeadConfig, EffectRecord, Features, Flops, ForecastErrors, HeadState, Move, Streams, TaughtHead,
};

use super::{
    Ensemble, Forecast, HeldOut, MeasuredMove, Network,
    ensemble::{Blind, CLIP, MIN_RECORDS, UNIT, input},
    relative::{Relative, relative},
};

/// The head in this program: the file that `moelt control teach` wrote.
pub const SHIPPED: &str = include_str!("../../heads/shipped.json");

/// Hidden units of each network.
const HIDDEN: usize = 16;

/// Updates of each network, enough for thousands of records.
pub const UPDATES: u64 = 12_000;

/// Parts of the updates with their learning rates: the first finds the way, the last takes the noise of batches out.
const RATES: [(f64, f64); 3] = [(0.5, 1e-2), (0.25, 3e-3), (0.25, 1e-3)];

/// Of what is drawn while teaching.
const SEED: u64 = 0;

/// Parts that tasks are divided into when forecasts are tried: each is left out once.
pub const FOLDS: u32 = 10;

/// Teaches a head by what runs with so many classes measured, in so many updates of each network; `record.run` says which run,
/// from 1. Its errors are those of networks on runs that they have not seen. [`TaughtHead::flops`] are those of fitting; what the runs
/// took is the caller's to add.
///
/// # Errors
/// When some move was measured too rarely to say how far forecasts of it are off.
pub fn teach(records: &[EffectRecord], n_classes: usize, updates: u64) -> Result<TaughtHead, String> {
    let mut state = HeadState {
        records: records.iter().filter_map(|record| relative(record, n_classes)).collect(),
        ..HeadState::default()
    };
    let ensemble = |lr| Ensemble::new(HIDDEN, lr, Streams::new(SEED));
    for (part, lr) in RATES {
        ensemble(lr).fit_for(&mut state, (part * updates as f64) as u64);
    }
    let blind = Move::ALL.into_iter().zip(ensemble(1.0).blind(&state));
    let head = TaughtHead {
        hidden: HIDDEN,
        networks: state.networks.into_iter().map(|network| network.weights).collect(),
        errors: blind.map(|(candidate, blind)| (candidate, errors(blind))).collect(),
        flops: Flops::unpadded(state.flops),
    };
    check_taught(&head)?;
    Ok(head)
}

/// Whether a head is one that this program can ask: its numbers ([`TaughtHead::check`]), how many networks it has and of what size,
/// and that it knows its errors of every move.
///
/// # Errors
/// The key and what is wrong with its value.
pub fn check_taught(head: &TaughtHead) -> Result<(), String> {
    head.check()?;
    // No head is wider than a config allows; beyond that the number of weights could overflow.
    if !(1..=65_536).contains(&head.hidden) {
        return Err(format!("hidden: is {}; must be 1 to 65536", head.hidden));
    }
    if head.networks.len() != Ensemble::MEMBERS {
        return Err(format!("networks: are {}; must be {}", head.networks.len(), Ensemble::MEMBERS));
    }
    let expected = network(head).n_weights();
    if let Some(weights) = head.networks.iter().find(|weights| weights.len() != expected) {
        let (hidden, inputs) = (head.hidden, network(head).inputs);
        return Err(format!(
            "networks: one has {} weights; with {hidden} hidden units and {inputs} inputs there are {expected}",
            weights.len()
        ));
    }
    let fewest = |errors: &ForecastErrors| errors.groups.iter().map(Vec::len).min();
    let known = |candidate: &Move| head.errors.get(candidate).and_then(fewest).unwrap_or(0);
    match Move::ALL.iter().find(|candidate| known(candidate) < MIN_RECORDS) {
        None => Ok(()),
        Some(candidate) => Err(format!(
            "errors.{}: a group has {}; below {MIN_RECORDS} a forecast means nothing",
            candidate.name(),
            known(candidate)
        )),
    }
}

/// What a taught head expects of a move in a run with so many classes, leaving out what experts cost; none where the run's
/// loss is nothing, or no number. Beyond what it was taught it expects no more than the largest effect that it was taught.
///
/// # Panics
/// When the head does not pass [`check_taught`].
pub fn forecast(
    head: &TaughtHead,
    features: &Features,
    n_classes: usize,
    candidate: Move,
) -> Option<Forecast> {
    let Relative { features, loss } = Relative::of(features, n_classes)?;
    let (network, input) = (network(head), input(&features, candidate));
    let output = |weights: &Vec<f32>| f64::from(network.forward(weights, &input).output[0]);
    let mean = head.networks.iter().map(output).sum::<f64>() / head.networks.len() as f64;
    let increase = Some(mean.clamp(-CLIP, CLIP)).filter(|increase| increase.is_finite())?;
    let gain = |error: &f64| loss * UNIT * (error - increase);
    Some(Forecast::new(head.errors[&candidate].of(increase).iter().map(gain).collect()))
}

/// What a taught head says of measured moves of runs with so many classes.
pub fn asked(
    head: &TaughtHead,
    config: &EffectHeadConfig,
    measured: &[MeasuredMove],
    n_classes: usize,
) -> Vec<HeldOut> {
    let of = |one: &MeasuredMove| {
        let known = Features::from_values(&one.record.features);
        let forecast = known.and_then(|known| forecast(head, &known, n_classes, one.record.candidate));
        one.held_out(forecast.map(|forecast| forecast.minus(one.cost())), config)
    };
    measured.iter().map(of).collect()
}

/// What heads say of tasks that they were not taught: of the runs every [`FOLDS`]-th is left out at a time, and all others
/// teach.
///
/// # Errors
/// As [`teach`].
pub fn left_out(
    config: &EffectHeadConfig,
    measured: &[MeasuredMove],
    n_classes: usize,
    updates: u64,
) -> Result<Vec<HeldOut>, String> {
    let mut told = Vec::new();
    for fold in 0..FOLDS {
        let (unseen, seen): (Vec<MeasuredMove>, Vec<MeasuredMove>) =
            measured.iter().cloned().partition(|one| one.record.run % FOLDS == fold);
        if unseen.is_empty() {
            continue;
        }
        let records: Vec<EffectRecord> = seen.into_iter().map(|one| one.record).collect();
        told.extend(asked(&teach(&records, n_classes, updates)?, config, &unseen, n_classes));
    }
    Ok(told)
}

fn network(head: &TaughtHead) -> Network {
    Ensemble::new(head.hidden, 1.0, Streams::new(SEED)).network()
}

/// The errors of groups of equally many predictions, as many as have enough to tell a spread.
fn errors(mut blind: Vec<Blind>) -> ForecastErrors {
    blind.sort_by(|one, other| one.predicted.total_cmp(&other.predicted));
    let n_groups = (blind.len() / TaughtHead::MAX_ERRORS).clamp(1, TaughtHead::MAX_GROUPS);
    let first = |group: usize| group * blind.len() / n_groups;
    let group = |group| quantiles(blind[first(group)..first(group + 1)].iter().map(Blind::error).collect());
    ForecastErrors {
        bounds: (1..n_groups).map(|group| blind[first(group)].predicted).collect(),
        groups: (0..n_groups).map(group).collect(),
    }
}

/// As many as a file may hold, evenly spread over the errors in rising order.
fn quantiles(mut errors: Vec<f64>) -> Vec<f64> {
    const MOST: usize = TaughtHead::MAX_ERRORS;
    errors.sort_by(f64::total_cmp);
    if errors.len() <= MOST {
        return errors;
    }
    // The middle of each of `MOST` equal parts.
    (0..MOST).map(|part| errors[(2 * part + 1) * errors.len() / (2 * MOST)]).collect()
}

#[cfg(test)]
mod tests;
