//! What a number may be.
//!
//! The largest counts are far beyond what anybody trains, and small enough that no product of them overflows and no
//! list that is as long as one of them fills the memory. Whether a machine can hold what a config asks for is another
//! question, which `moelt-train` answers.

use serde_json::Value;

use super::ConfigFault;

type Checked = Result<(), ConfigFault>;

/// Largest number of experts of a layer.
pub(super) const MAX_EXPERTS: u64 = 10_000;

/// Largest number of hidden units.
pub(super) const MAX_UNITS: u64 = 100_000_000;

/// 0 to `most`.
pub(super) fn at_most(key: &str, n: u64, most: u64) -> Checked {
    if n > most {
        return Err(ConfigFault::new(key, format!("is {n}; must be at most {most}")));
    }
    Ok(())
}

/// `least` to `most`.
pub(super) fn between(key: &str, n: u64, least: u64, most: u64) -> Checked {
    if n < least {
        return Err(ConfigFault::new(key, format!("is {n}; must be at least {least}")));
    }
    at_most(key, n, most)
}

/// 1 to `most`.
pub(super) fn count(key: &str, n: u64, most: u64) -> Checked {
    if n == 0 {
        return Err(ConfigFault::new(key, "must be at least 1"));
    }
    at_most(key, n, most)
}

/// Refuses whole numbers that TOML does not have: a config is written as TOML, wherever it was read from.
pub(super) fn toml_numbers(key: &str, value: &Value) -> Checked {
    match value {
        Value::Object(table) => table.iter().try_for_each(|(name, value)| {
            toml_numbers(format!("{key}.{name}").trim_start_matches('.'), value)
        }),
        Value::Array(list) => list.iter().try_for_each(|value| toml_numbers(key, value)),
        value => value.as_u64().map_or(Ok(()), |n| at_most(key, n, i64::MAX as u64)),
    }
}

/// Above 0, also in the single precision in which the model computes.
pub(super) fn positive(key: &str, value: f64) -> Checked {
    let single = value as f32;
    number(key, value, single > 0.0 && single.is_finite(), "a number above 0")
}

/// 0 or more.
pub(super) fn at_least_zero(key: &str, value: f64) -> Checked {
    number(key, value, value >= 0.0 && (value as f32).is_finite(), "a number of at least 0")
}

/// 0 or more, below 1.
pub(super) fn fraction(key: &str, value: f64) -> Checked {
    number(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

/// 0 to 1.
pub(super) fn share(key: &str, value: f64) -> Checked {
    number(key, value, (0.0..=1.0).contains(&value), "0 to 1")
}

fn number(key: &str, value: f64, holds: bool, bound: &str) -> Checked {
    if holds { Ok(()) } else { Err(ConfigFault::new(key, format!("is {value}; must be {bound}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_said_with_the_value() {
        let message = |checked: Checked| checked.unwrap_err().to_string();
        assert_eq!(message(count("n", 0, 5)), "`n`: must be at least 1");
        assert_eq!(message(count("n", 6, 5)), "`n`: is 6; must be at most 5");
        assert_eq!(message(between("n", 1, 2, 5)), "`n`: is 1; must be at least 2");
        assert_eq!(message(between("n", 6, 2, 5)), "`n`: is 6; must be at most 5");
        assert_eq!(between("n", 2, 2, 5), Ok(()));
        assert_eq!(message(positive("lr", 1e-60)), format!("`lr`: is {}; must be a number above 0", 1e-60));
        assert_eq!(message(fraction("p", 1.0)), "`p`: is 1; must be at least 0 and below 1");
        assert_eq!(message(share("p", f64::NAN)), "`p`: is NaN; must be 0 to 1");
        assert_eq!(share("p", 1.0), Ok(()));
        assert!(at_least_zero("x", f64::INFINITY).is_err());
    }
}
