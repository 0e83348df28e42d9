//! Whether a time limit is shorter than what cells of the same arms have taken.

use moelt_schema::Cell;

/// Seconds before the limit at which Slurm tells a cell to stop.
const STOPPED_BEFORE: f64 = 90.0;

/// What to say of a limit that stops cells on their way, as far as `finished` cells tell: arms with the seconds that a cell of
/// theirs trained. Nothing where none of an arm is finished, or Slurm alone can tell what the limit means.
pub(super) fn warning(limit: &str, open: &[&Cell], finished: &[(&str, f64)]) -> Option<String> {
    // 0 is no limit.
    let most = seconds(limit).filter(|limit| *limit > 0)? as f64 - STOPPED_BEFORE;
    let is_open = |arm: &str| open.iter().any(|cell| cell.arm == arm);
    let longest =
        finished.iter().filter(|(arm, _)| is_open(arm)).max_by(|one, other| one.1.total_cmp(&other.1));
    longest.filter(|(_, took)| *took > most).map(|(arm, took)| {
        format!(
            "warning: --time {limit} is too short for the {took:.0} s that a cell of {arm} took here: cells like it are stopped 90 seconds \
             before the limit, queued again and go on from their checkpoints, as often as it takes; a longer limit saves that"
        )
    })
}

/// A time as Slurm has it: minutes, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`.
fn seconds(limit: &str) -> Option<u64> {
    let (days, time) = match limit.split_once('-') {
        Some((days, time)) => (Some(days.parse::<u64>().ok()?), time),
        None => (None, limit),
    };
    let parts: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = match (days, parts.as_slice()) {
        (None, [minutes]) => [0, *minutes, 0],
        (None, [minutes, seconds]) => [0, *minutes, *seconds],
        (Some(_), [hours]) => [*hours, 0, 0],
        (Some(_), [hours, minutes]) => [*hours, *minutes, 0],
        (_, [hours, minutes, seconds]) => [*hours, *minutes, *seconds],
        _ => return None,
    };
    let hours = days.unwrap_or(0).checked_mul(24)?.checked_add(hours)?;
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_add(seconds)
}

#[cfg(test)]
mod tests {
    use moelt_schema::RunConfig;

    use super::*;

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        for (limit, expected) in [
            ("90", Some(5_400)),
            ("2:30", Some(150)),
            ("02:00:00", Some(7_200)),
            ("1-12", Some(129_600)),
            ("1-0:30", Some(88_200)),
            ("1-00:00:01", Some(86_401)),
            ("UNLIMITED", None),
            ("1:2:3:4", None),
            ("", None),
            ("99999999999999999999", None),
            ("18446744073709551615", None),
        ] {
            assert_eq!(seconds(limit), expected, "{limit}");
        }
    }

    #[test]
    fn only_what_is_known_of_the_same_arm_counts() {
        let cell = |arm: &str| Cell::new(RunConfig { arm: arm.to_owned(), ..RunConfig::default() });
        let (moe, rule) = (cell("moe"), cell("rule"));
        let finished = [("moe", 40.0), ("moe", 91.0), ("dense", 900.0)];
        let said = |limit, open: &[&Cell]| warning(limit, open, &finished);
        let warned = said("3", &[&moe, &rule]).unwrap();
        assert!(
            warned.starts_with("warning: --time 3 is too short for the 91 s that a cell of moe took"),
            "{warned}"
        );
        assert_eq!(said("3:01", &[&moe]), None);
        assert_eq!(said("1", &[&rule]), None);
        assert_eq!(said("0", &[&moe]), None);
        assert_eq!(said("UNLIMITED", &[&moe]), None);
    }
}
