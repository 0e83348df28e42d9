//! Heads that were taught on made-up effects.

use moelt_schema::{LayerId, TaughtFile, Teaching, TeachingRanges};
use proptest::{prop_assert, prop_assert_eq};

use super::{super::Intent, *};

/// Updates that are enough for what is taught here.
const FEW: u64 = 800;

/// Growing saves a tenth of the loss when the first feature is high, and costs as much when it is low; all else costs a twentieth.
fn increase(first: f32, candidate: Move) -> f64 {
    match candidate {
        Move::Grow => 0.1 - 0.2 * f64::from(first),
        Move::Double | Move::Prune | Move::Halve => 0.05,
    }
}

fn features(first: f32, loss: f64) -> Features {
    let mut values = [0.5; Features::N];
    values[0] = f64::from(first);
    values[Features::LOSS] = loss / (1.0 + loss);
    Features::clamped(values)
}

/// What a run measured at this loss.
fn of_run(run: u32, loss: f64) -> Vec<MeasuredMove> {
    let one = |(at, candidate): (u8, Move)| {
        let first = f32::from(at) / 4.0;
        let loss_increase = loss * increase(first, candidate);
        let (layer, steps, standard_error) = (LayerId(0), 10, 0.001 * loss);
        let features = features(first, loss).values().to_vec();
        let record =
            EffectRecord { run, step: 1, layer, candidate, features, steps, loss_increase, standard_error };
        MeasuredMove { gain: -loss_increase, record }
    };
    (0..5).flat_map(|at| Move::ALL.map(|candidate| (at, candidate))).map(one).collect()
}

fn runs() -> Vec<MeasuredMove> {
    (1..=12).flat_map(|run| of_run(run, 0.2 + 0.04 * f64::from(run))).collect()
}

fn records(measured: &[MeasuredMove]) -> Vec<EffectRecord> {
    measured.iter().map(|one| one.record.clone()).collect()
}

fn head() -> TaughtHead {
    teach(&records(&runs()), 2, FEW).unwrap()
}

/// Three classes and a loss beyond all that it was taught: gains are parts of that loss.
#[test]
fn what_was_taught_is_known_of_a_run_in_another_currency() {
    let head = head();
    let loss = 0.5 * 3f64.ln() / 2f64.ln();
    for (first, candidate) in [(0.0, Move::Grow), (1.0, Move::Grow), (0.5, Move::Halve)] {
        let forecast = forecast(&head, &features(first, loss), 3, candidate).unwrap();
        let expected = -loss * increase(first, candidate);
        assert!((forecast.gain() - expected).abs() < 0.015, "{}, not {expected}", forecast.gain());
    }
    assert_eq!(forecast(&head, &features(0.5, 0.0), 3, Move::Grow), None);
}

#[test]
fn the_same_lessons_make_the_same_head() {
    let taught = teach(&records(&runs()), 2, FEW).unwrap();
    assert_eq!(taught, teach(&records(&runs()), 2, FEW).unwrap());
    // 8 networks, 800 updates of 16 records; 6 operations for each of 16 · 21 + 17 weights.
    assert_eq!(taught.flops, Flops::unpadded(8 * 800 * 16 * 6 * 353));
}

#[test]
fn tasks_that_were_left_out_are_told_of_rightly() {
    let config = EffectHeadConfig::default();
    let told = left_out(&config, &runs(), 2, FEW).unwrap();
    assert_eq!(told.len(), 12 * 20);
    for one in &told {
        let surely = if one.measured > 0.02 { Intent::Make } else { Intent::Keep };
        assert!(one.measured.abs() < 0.02 || one.intent == surely, "{one:?}");
    }
    // A head that knows the answers says the same of its own tasks.
    assert_eq!(asked(&head(), &config, &runs()[..20], 2).len(), 20);
}

#[test]
fn what_was_measured_too_rarely_cannot_be_taught() {
    let without = |candidate| {
        let kept: Vec<MeasuredMove> =
            runs().into_iter().filter(|one| one.record.candidate != candidate).collect();
        teach(&records(&kept), 2, FEW).unwrap_err()
    };
    assert_eq!(without(Move::Halve), "errors.halve: a group has 0; below 10 a forecast means nothing");
}

#[test]
fn many_errors_are_told_by_their_quantiles() {
    let errors: Vec<f64> = (0..256).rev().map(f64::from).collect();
    let kept = quantiles(errors);
    assert_eq!((kept.len(), kept[0], kept[1], kept[63]), (64, 2.0, 6.0, 254.0));
    assert_eq!(quantiles(vec![2.0, 1.0]), [1.0, 2.0]);
}

/// Small effects are missed by nothing, large ones by their half.
#[test]
fn large_effects_have_errors_of_their_own() {
    let blind = |at: u32| {
        let predicted = f64::from(at);
        Blind { predicted, measured: if at < 128 { predicted } else { predicted / 2.0 } }
    };
    let known = errors((0..256).rev().map(blind).collect());
    assert_eq!(known.bounds, [64.0, 128.0, 192.0]);
    assert_eq!(known.groups.iter().map(Vec::len).collect::<Vec<_>>(), [64; 4]);
    assert_eq!((known.of(-5.0)[63], known.of(127.0)[63], known.of(128.0)[0]), (0.0, 0.0, 64.0));
    assert_eq!(errors(Vec::new()).groups, [Vec::<f64>::new()]);
}

#[test]
fn a_head_of_another_size_is_refused_by_key() {
    let refused = |change: &dyn Fn(&mut TaughtHead)| {
        let mut head = head();
        change(&mut head);
        check_taught(&head).unwrap_err()
    };
    assert_eq!(refused(&|head| head.hidden = 0), "hidden: is 0; must be 1 to 65536");
    assert_eq!(refused(&|head| head.networks.truncate(7)), "networks: are 7; must be 8");
    let other = "networks: one has 353 weights; with 17 hidden units and 20 inputs there are 375";
    assert_eq!(refused(&|head| head.hidden = 17), other);
    assert!(refused(&|head| head.errors.clear()).starts_with("errors.grow: a group has 0"));
}

/// The head that is part of the program, on tasks that no judged run uses.
#[test]
fn the_shipped_head_can_be_asked() {
    let file = TaughtFile::from_json(SHIPPED).unwrap();
    assert_eq!(check_taught(&file.head), Ok(()));
    assert!(SHIPPED.len() < 1_000_000, "{}", SHIPPED.len());
    let Teaching { first_seed, tasks, .. } = file.teaching;
    let [from, to] = file.ranges.data_seeds;
    assert!((5000..=first_seed).contains(&from) && first_seed + tasks <= to + 1 && to < 7000);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, ..Default::default() })]

    /// Any digit of a file that is another one is noticed; and whoever mends the hash as well is told what is wrong, or has a
    /// head whose forecasts are numbers.
    #[test]
    fn an_altered_file_is_refused_or_gives_numbers(
        place in 0.0..1.0,
        digit in 0u8..10,
        (weight, error) in (proptest::num::f32::ANY, proptest::num::f64::ANY),
    ) {
        let file = TaughtFile::from_json(SHIPPED).unwrap();
        let mut bytes = SHIPPED.as_bytes().to_vec();
        let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
        let at = digits[(place * digits.len() as f64) as usize];
        bytes[at] = b'0' + digit;
        if let Ok(read) = TaughtFile::from_json(std::str::from_utf8(&bytes).unwrap()) {
            prop_assert_eq!(read, file.clone());
        }
        let TaughtFile { ranges, teaching, mut head, .. } = file;
        head.networks[(8.0 * place) as usize][0] = weight;
        head.errors.get_mut(&Move::Grow).unwrap().groups[0][0] = error;
        let mended = TaughtFile::new("0.1.0", TeachingRanges { ..ranges }, teaching, head);
        if let Ok(file) = TaughtFile::from_json(&mended.to_json()) {
            for candidate in Move::ALL {
                let forecast = forecast(&file.head, &features(0.5, 0.5), 2, candidate).unwrap();
                let numbers = [forecast.gain(), forecast.chance(), forecast.improvement()];
                prop_assert!(numbers.iter().all(|number| number.is_finite()), "{:?}", numbers);
            }
        }
    }
}
