//! What is said on standard error.

/// A line on standard error, formatted like `println!`. Whoever has closed it wants to hear no more; the work goes on.
///
/// ```
/// moelt_ablate::tell!("{} of 3 cells are finished", 2);
/// ```
#[macro_export]
macro_rules! tell {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($line)*);
    }};
}
