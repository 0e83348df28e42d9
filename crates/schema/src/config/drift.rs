//! Drift: which domains are live at which time of training, and by which of them a model is judged.
//!
//! Time runs from 0, before the first step, to 1, after the last. Training sees only texts of domains that
//! are live. A run is judged at evenly spread evaluation times 1/E, 2/E, …, 1 by the model as it is then: generated
//! domains *prequentially* (Gama et al. 2013), on texts of what is live just then; a stream of tasks on what has
//! arrived so far, whether it is still there or not (Lopez-Paz and Ranzato 2017), so that forgetting shows.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use crate::{ConfigFault, PlantedConfig, StreamKind};

/// When each domain is live, and when the model is judged by what. Made by [`PlantedConfig::drift`], which checks it, or by
/// [`Drift::stream`].
///
/// ```
/// use moelt_schema::PlantedConfig;
/// let live = vec![[0.0, 0.5], [0.0, 1.0], [0.5, 1.0]];
/// let drift = PlantedConfig { domains: 3, live, times: 4, ..PlantedConfig::default() }.drift()?.unwrap();
/// assert_eq!(drift.live_before(0.5), [0, 1]);
/// let stretches = drift.stretches(30);
/// assert_eq!((stretches[1].from, stretches[1].domains.as_slice()), (15, &[1, 2][..]));
/// # Ok::<(), moelt_schema::ConfigFault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// `[from, to]` of each domain, fractions of a round.
    live: Vec<[f64; 2]>,
    /// So often everything comes and goes.
    #[serde(skip_serializing_if = "is_one")]
    rounds: u32,
    times: u32,
    #[serde(skip_serializing_if = "is_live")] // The hash of data whose domains come and go is as ever.
    asks: Asks,
}

/// By which domains a model is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Asks {
    /// Those that are live, each time on texts of that time.
    Live,
    /// Those that have arrived, each time on all of their texts.
    Arrived,
}

fn is_live(asks: &Asks) -> bool {
    *asks == Asks::Live
}

fn is_one(rounds: &u32) -> bool {
    *rounds == 1
}

/// Texts that a model is asked about: those of a domain and, where every evaluation time has texts of its own, of that
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Evaluation time; none where texts belong to no time.
    pub time: Option<u32>,
    /// The domain.
    pub domain: u32,
}

/// Domains appear that were not there just before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStart {
    /// Steps done before it.
    pub step: u64,
    /// Whether one of them has never been there.
    pub is_new: bool,
    /// Those that have been there before.
    pub back: Vec<u32>,
}

/// Steps between two changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first of them, counted from 0.
    pub from: u64,
    /// The domains that they see.
    pub domains: Vec<u32>,
}

impl PlantedConfig {
    /// The drift of this data set; none when every domain is always live.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn drift(&self) -> Result<Option<Drift>, ConfigFault> {
        if self.live.is_empty() {
            return Ok(None);
        }
        if self.live.len() != self.domains {
            let message = format!(
                "has {} pairs for {} domains; give each domain one, such as [0.0, 1.0]",
                self.live.len(),
                self.domains
            );
            return Err(ConfigFault::new("live", message));
        }
        let drift = Drift { live: self.live.clone(), rounds: 1, times: self.times as u32, asks: Asks::Live };
        drift.check().map_err(|message| ConfigFault::new("live", message))?;
        Ok(Some(drift))
    }
}

impl Drift {
    /// A stream of tasks: `n_domains` domains, of which one more arrives after each of as many equal parts of training, or of its
    /// first half where they come back in the second. A
    /// model is judged whenever the next one is about to arrive, and at the end.
    ///
    /// ```
    /// use moelt_schema::{Drift, StreamKind};
    /// let drift = Drift::stream(3, StreamKind::Sequential);
    /// assert_eq!((drift.live_before(2.0 / 3.0), drift.asked_at(2).len()), (vec![1], 2));
    /// ```
    pub fn stream(n_domains: usize, kind: StreamKind) -> Self {
        let at = |domain: usize| domain as f64 / n_domains as f64;
        let window = |domain| match kind {
            StreamKind::Sequential | StreamKind::Returning => [at(domain), at(domain + 1)],
            StreamKind::Cumulative => [at(domain), 1.0],
        };
        let rounds = if kind == StreamKind::Returning { 2 } else { 1 };
        let (live, times) = ((0..n_domains).map(window).collect(), n_domains as u32 * rounds);
        Self { live, rounds, times, asks: Asks::Arrived }
    }

    /// Whether every evaluation time has texts of its own, so that each text is asked about once.
    pub fn has_texts_of_times(&self) -> bool {
        self.asks == Asks::Live
    }

    /// What a model is asked about at an evaluation time.
    pub fn asked_at(&self, time: u32) -> Vec<Asked> {
        match self.asks {
            Asks::Live => {
                let live = self.live_before(self.at(time)).into_iter();
                live.map(|domain| Asked { time: Some(time), domain }).collect()
            }
            Asks::Arrived => self.arrived(|[from, _]| from < self.at(time)),
        }
    }

    fn arrived(&self, is: impl Fn([f64; 2]) -> bool) -> Vec<Asked> {
        self.domains(is).into_iter().map(|domain| Asked { time: None, domain }).collect()
    }

    /// Evaluation times, E. They are numbered from 1; the last one is the end of training.
    pub fn times(&self) -> u32 {
        self.times
    }

    /// When an evaluation time is: a fraction of training.
    pub fn at(&self, time: u32) -> f64 {
        f64::from(time) / f64::from(self.times)
    }

    /// The steps that are done at an evaluation time, in a run of `total` steps.
    pub fn step_of(&self, time: u32, total: u64) -> u64 {
        step(self.at(time), total)
    }

    /// The domains that are live just before `at`, a fraction of training.
    pub fn live_before(&self, at: f64) -> Vec<u32> {
        self.domains(|[from, to]| from < at && at <= to)
    }

    /// What the steps of a run of `total` steps see, from change to change.
    pub fn stretches(&self, total: u64) -> Vec<Stretch> {
        let mut starts: Vec<u64> = self.changes().iter().map(|at| step(*at, total)).collect();
        starts.dedup();
        starts.retain(|start| *start < total);
        let live_at = |now| self.domains(|[from, to]| step(from, total) <= now && now < step(to, total));
        starts.into_iter().map(|from| Stretch { from, domains: live_at(from) }).collect()
    }

    /// When domains appear in a run of `total` steps that were not there just before, beside those of the first step.
    ///
    /// ```
    /// use moelt_schema::{Drift, StreamKind};
    /// let starts = Drift::stream(2, StreamKind::Returning).task_starts(40);
    /// let said: Vec<_> = starts.iter().map(|start| (start.step, start.is_new, start.back.as_slice())).collect();
    /// assert_eq!(said, [(10, true, &[][..]), (20, false, &[0]), (30, false, &[1])]);
    /// ```
    pub fn task_starts(&self, total: u64) -> Vec<TaskStart> {
        let (mut seen, mut before) = (BTreeSet::new(), Vec::new());
        let mut starts = Vec::new();
        for Stretch { from, domains } in self.stretches(total) {
            let entering = domains.iter().copied().filter(|domain| !before.contains(domain));
            let (back, new): (Vec<u32>, Vec<u32>) = entering.partition(|domain| seen.contains(domain));
            if from > 0 && !(back.is_empty() && new.is_empty()) {
                starts.push(TaskStart { step: from, is_new: !new.is_empty(), back });
            }
            seen.extend(new);
            before = domains;
        }
        starts
    }

    /// By which texts a model is to be judged after `now` of `total` steps. At an evaluation time these are the texts that
    /// it is asked about then ([`Self::asked_at`]). In between, where times have texts of their own, they are of the domains
    /// that the last step
    /// could see: of each the texts of the next time that asks about it or, where it ends before that, of the
    /// last one that did. So a view knows nothing of what has yet to appear, nor of what is about to end. In a stream they are
    /// the texts of all domains that have arrived.
    ///
    /// It is never empty in a run of as many steps as there are times.
    pub fn view(&self, now: u64, total: u64) -> Vec<Asked> {
        let now = now.clamp(1, total);
        if self.asks == Asks::Arrived {
            return self.arrived(|[from, _]| step(from, total) < now);
        }
        let next = (1..self.times).find(|time| self.step_of(*time, total) >= now).unwrap_or(self.times);
        if self.step_of(next, total) == now {
            return self.asked_at(next);
        }
        let live = self.domains(|[from, to]| step(from, total) < now && now <= step(to, total));
        let asked = |domain| Some(Asked { time: Some(self.asked_about(domain, next)?), domain });
        live.into_iter().filter_map(asked).collect()
    }

    /// The first evaluation time from `next` on that asks about a domain, or else the last one before it.
    fn asked_about(&self, domain: u32, next: u32) -> Option<u32> {
        let asks = |time: &u32| self.live_before(self.at(*time)).contains(&domain);
        (next..=self.times).find(asks).or_else(|| (1..next).rev().find(asks))
    }

    /// A domain whose window is so short that no step of a run of `total` steps sees it, with the window.
    pub fn unseen(&self, total: u64) -> Option<(u32, [f64; 2])> {
        let mut windows = (0..)
            .zip(&self.live)
            .flat_map(|(domain, of)| self.windows(*of).map(move |window| (domain, window)));
        windows.find(|(_, [from, to])| step(*from, total) == step(*to, total))
    }

    fn domains(&self, is: impl Fn([f64; 2]) -> bool) -> Vec<u32> {
        let is_in_a_round = |(_, window): &(u32, &[f64; 2])| self.windows(**window).any(&is);
        (0..).zip(&self.live).filter(is_in_a_round).map(|(domain, _)| domain).collect()
    }

    /// A domain's window in each round, as fractions of training.
    fn windows(&self, of_round: [f64; 2]) -> impl Iterator<Item = [f64; 2]> {
        let rounds = f64::from(self.rounds);
        (0..self.rounds).map(move |round| of_round.map(|at| (f64::from(round) + at) / rounds))
    }

    /// The times at which domains appear or disappear, in order: first 0, last 1.
    fn changes(&self) -> Vec<f64> {
        let windows = self.live.iter().flat_map(|of| self.windows(*of));
        let mut changes: Vec<f64> = windows.flatten().chain([0.0, 1.0]).collect();
        changes.sort_by(f64::total_cmp);
        changes.dedup();
        changes
    }

    fn check(&self) -> Result<(), String> {
        let sound = |[from, to]: &[f64; 2]| 0.0 <= *from && from < to && *to <= 1.0;
        if let Some([from, to]) = self.live.iter().find(|window| !sound(window)) {
            return Err(format!("has [{from}, {to}]; must be 0 <= from < to <= 1, fractions of training"));
        }
        let judged: Vec<Vec<u32>> = (1..=self.times).map(|time| self.live_before(self.at(time))).collect();
        if let Some(domain) =
            (0..self.live.len() as u32).find(|d| !judged.iter().any(|live| live.contains(d)))
        {
            return Err(format!("has domain {domain} live at no evaluation time; raise data.planted.times"));
        }
        let changes = self.changes();
        match changes.windows(2).find(|stretch| self.live_before(stretch[1]).is_empty()) {
            Some(stretch) => Err(format!("leaves no domain live from {} to {}", stretch[0], stretch[1])),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.rounds {
            1 => "training".to_owned(),
            rounds => format!("each of {rounds} rounds of training"),
        };
        write!(f, "domains are live in these fractions of {of}:")?;
        for (domain, [from, to]) in self.live.iter().enumerate() {
            let comma = if domain == 0 { "" } else { "," };
            write!(f, "{comma} {domain} in {from} to {to}")?;
        }
        let what = match self.asks {
            Asks::Live => "by the texts that are live",
            Asks::Arrived => "by all that has arrived",
        };
        write!(f, "; the model is judged at {} times, {what}", self.times)
    }
}

/// The steps that are done at `at`, a fraction of training.
fn step(at: f64, total: u64) -> u64 {
    (at * total as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(live: &[[f64; 2]], times: usize) -> PlantedConfig {
        PlantedConfig { domains: live.len(), live: live.to_vec(), times, ..PlantedConfig::default() }
    }

    fn drift(live: &[[f64; 2]], times: usize) -> Drift {
        planted(live, times).drift().unwrap().unwrap()
    }

    fn asked(time: u32, domain: u32) -> Asked {
        Asked { time: Some(time), domain }
    }

    /// Three tasks in 30 steps: judged by all that has arrived, whether it is still trained on or not.
    #[test]
    fn a_stream_asks_about_all_that_has_arrived() {
        let domains = |asked: Vec<Asked>| asked.iter().map(|asked| asked.domain).collect::<Vec<_>>();
        for (kind, last) in [(StreamKind::Sequential, vec![2]), (StreamKind::Cumulative, vec![0, 1, 2])] {
            let drift = Drift::stream(3, kind);
            assert!(!drift.has_texts_of_times());
            assert_eq!(
                drift.stretches(30).iter().map(|stretch| stretch.from).collect::<Vec<_>>(),
                [0, 10, 20]
            );
            assert_eq!(drift.stretches(30)[2].domains, last);
            assert_eq!(
                [1, 2, 3].map(|time| domains(drift.asked_at(time))),
                [vec![0], vec![0, 1], vec![0, 1, 2]]
            );
            assert_eq!([10, 11, 20, 30].map(|now| domains(drift.view(now, 30)).len()), [1, 2, 2, 3]);
        }
    }

    /// Two tasks that come back, in 40 steps: trained on one after the other, twice, and always asked about both from the
    /// second on.
    #[test]
    fn tasks_come_back_in_the_second_round() {
        let drift = Drift::stream(2, StreamKind::Returning);
        let stretches: Vec<_> = drift.stretches(40).into_iter().map(|s| (s.from, s.domains)).collect();
        assert_eq!(stretches, [(0, vec![0]), (10, vec![1]), (20, vec![0]), (30, vec![1])]);
        assert_eq!((drift.times(), [1, 2, 3, 4].map(|time| drift.asked_at(time).len())), (4, [1, 2, 2, 2]));
        assert_eq!([10, 11, 21, 40].map(|now| drift.view(now, 40).len()), [1, 2, 2, 2]);
        assert_eq!(drift.unseen(4), None);
        assert!(drift.to_string().starts_with("domains are live in these fractions of each of 2 rounds"));
        let hashed = |kind| serde_json::to_string(&Drift::stream(2, kind)).unwrap();
        assert!(!hashed(StreamKind::Sequential).contains("rounds"), "hashes of data are as ever");
        assert!(hashed(StreamKind::Returning).contains(r#""rounds":2"#));
    }

    #[test]
    fn nothing_drifts_without_windows() {
        assert_eq!(PlantedConfig::default().drift(), Ok(None));
    }

    #[test]
    fn stretches_lie_between_changes_and_cover_all_steps() {
        let drift = drift(&[[0.0, 0.5], [0.0, 1.0], [0.3333, 1.0]], 10);
        let stretch = |from, domains: &[u32]| Stretch { from, domains: domains.to_vec() };
        assert_eq!(
            drift.stretches(100),
            [stretch(0, &[0, 1]), stretch(33, &[0, 1, 2]), stretch(50, &[1, 2])]
        );
        assert_eq!(drift.stretches(1), [stretch(0, &[0, 1, 2])], "changes are rounded to steps");
    }

    #[test]
    fn a_time_belongs_to_what_was_live_before_it() {
        let drift = drift(&[[0.0, 0.5], [0.3, 1.0]], 10);
        assert_eq!((drift.live_before(0.3), drift.live_before(0.4)), (vec![0], vec![0, 1]));
        assert_eq!((drift.live_before(0.5), drift.live_before(0.6)), (vec![0, 1], vec![1]));
        assert_eq!((drift.step_of(3, 1000), drift.step_of(10, 1000)), (300, 1000));
    }

    #[test]
    fn a_view_knows_nothing_of_what_has_yet_to_appear() {
        let drift = drift(&[[0.0, 0.5], [0.0, 1.0], [0.35, 1.0]], 10);
        let view = |now| drift.view(now, 100);
        let at =
            |time, domains: &[u32]| domains.iter().map(|domain| asked(time, *domain)).collect::<Vec<_>>();
        assert_eq!(view(0), at(1, &[0, 1]));
        assert_eq!(view(30), at(3, &[0, 1]));
        // Domain 2 is live at the next time, but not yet.
        assert_eq!(view(35), at(4, &[0, 1]));
        assert_eq!(view(36), at(4, &[0, 1, 2]));
        assert_eq!(view(50), at(5, &[0, 1, 2]));
        assert_eq!(view(51), at(6, &[1, 2]));
        assert_eq!(view(100), at(10, &[1, 2]));
    }

    #[test]
    fn a_domain_that_ends_between_evaluation_times_is_asked_about_until_it_does() {
        let drift = drift(&[[0.0, 0.45], [0.0, 1.0]], 10);
        assert_eq!(drift.view(40, 100), [asked(4, 0), asked(4, 1)]);
        // The next time, 0.5, does not ask about domain 0 any more, but training still sees it.
        assert_eq!(drift.view(41, 100), [asked(4, 0), asked(5, 1)]);
        assert_eq!(drift.view(45, 100), [asked(4, 0), asked(5, 1)]);
        assert_eq!(drift.view(46, 100), [asked(5, 1)]);
        // Nor is it refused that everything changes between two times.
        let change = self::drift(&[[0.0, 0.3333], [0.3333, 1.0]], 10);
        assert_eq!((change.view(32, 100), change.view(34, 100)), (vec![asked(3, 0)], vec![asked(4, 1)]));
    }

    #[test]
    fn a_window_without_a_step_is_found() {
        let drift = drift(&[[0.0, 1.0], [0.398, 0.402]], 10);
        assert_eq!(drift.unseen(100), Some((1, [0.398, 0.402])));
        assert_eq!(drift.unseen(1000), None);
    }

    #[test]
    fn every_view_asks_about_all_that_the_last_step_saw() {
        let windows = [[0.0, 0.21], [0.13, 0.47], [0.3333, 0.6667], [0.5, 1.0], [0.0, 0.14]];
        let drift = drift(&windows, 10);
        for total in [10, 11, 37, 1000] {
            let times: Vec<u64> = (1..=10).map(|time| drift.step_of(time, total)).collect();
            assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
            for now in 1..=total {
                let view = drift.view(now, total);
                let is_there = |asked: &Asked| drift.asked_at(asked.time.unwrap()).contains(asked);
                assert!(!view.is_empty() && view.iter().all(is_there), "{now} of {total}: {view:?}");
                let seen =
                    drift.stretches(total).into_iter().rfind(|stretch| stretch.from < now).unwrap().domains;
                let asked: Vec<u32> = view.iter().map(|asked| asked.domain).collect();
                assert!(times.contains(&now) || asked == seen, "{now} of {total}: {view:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_said_with_its_fix() {
        let message = |live: &[[f64; 2]], times| planted(live, times).drift().unwrap_err().message;
        assert!(message(&[[0.5, 0.5]], 10).starts_with("has [0.5, 0.5]; must be"));
        assert!(message(&[[0.0, 1.5]], 10).contains("[0, 1.5]"));
        assert!(message(&[[f64::NAN, 1.0]], 10).contains("must be"));
        assert_eq!(message(&[[0.0, 0.4], [0.5, 1.0]], 10), "leaves no domain live from 0.4 to 0.5");
        assert!(message(&[[0.0, 1.0], [0.41, 0.49]], 10).contains("domain 1 live at no evaluation time"));
        let lost = message(&[[0.0, 0.2], [0.2, 0.3], [0.3, 0.8], [0.0, 0.1], [0.8, 1.0]], 5);
        assert!(lost.contains("live at no"), "{lost}");
        let config = PlantedConfig { domains: 3, ..planted(&[[0.0, 1.0]], 10) };
        assert!(config.drift().unwrap_err().message.starts_with("has 1 pairs for 3 domains"));
    }
}
