//! Where the gate of a mixture begins.

use nalgebra::{DMatrix, DMatrixView, DVector, SymmetricEigen};

use crate::flops::Flops;

/// Log odds of the first gate per standard deviation along its direction.
const SHARPNESS: f64 = 3.0;

/// First guess of each row's chance to be on the gate's positive side, from `white` rows `[rows, directions]` and
/// the model's `residuals` y − p, `[rows, n_classes]`.
///
/// Where two domains ask for opposite answers, the residual of a class depends on the product of the direction that
/// tells the domains and the direction that tells the class. The extreme eigenvectors of `Q = Σ r · x xᵀ / rows` then
/// span both, and of all directions between them the one that tells the domains has two humps: the least kurtosis.
/// Of all classes the one whose eigenvalues lie furthest apart says most. `angles` directions are tried.
pub(super) fn first_guess(
    white: DMatrixView<f64>,
    residuals: &DMatrix<f64>,
    angles: usize,
    flops: &mut Flops,
) -> DVector<f64> {
    let [low, high] = most_extreme(white, residuals, flops);
    flops.product(white.nrows(), white.ncols(), 2);
    let (low, high) = (white * low, white * high);
    let turned = |at: usize| {
        let angle = std::f64::consts::PI * at as f64 / angles as f64;
        &low * angle.cos() + &high * angle.sin()
    };
    let humped = (0..angles).map(turned).min_by(|a, b| kurtosis(a).total_cmp(&kurtosis(b)));
    let projection = humped.unwrap_or(low);
    let spread = projection.variance().sqrt();
    projection.map(|value| 1.0 / (1.0 + (-SHARPNESS * value / spread).exp()))
}

/// Eigenvectors of the lowest and of the highest eigenvalue of the class where these lie furthest apart. With two
/// classes one matrix is the negative of the other.
fn most_extreme(white: DMatrixView<f64>, residuals: &DMatrix<f64>, flops: &mut Flops) -> [DVector<f64>; 2] {
    let n_classes = if residuals.ncols() == 2 { 1 } else { residuals.ncols() };
    let of_class = |class| {
        flops.product(white.ncols(), white.nrows(), white.ncols());
        extremes(interaction(white, residuals, class))
    };
    let widest = (0..n_classes).map(of_class).max_by(|(a, _), (b, _)| a.total_cmp(b));
    widest.expect("there are at least two classes").1
}

/// `Σ r · x xᵀ / rows` of a class.
fn interaction(white: DMatrixView<f64>, residuals: &DMatrix<f64>, class: usize) -> DMatrix<f64> {
    let rows = white.nrows() as f64;
    let weighted = DMatrix::from_fn(white.ncols(), white.nrows(), |column, row| {
        white[(row, column)] * residuals[(row, class)] / rows
    });
    weighted * white
}

/// How far the extreme eigenvalues lie apart, and their eigenvectors.
fn extremes(matrix: DMatrix<f64>) -> (f64, [DVector<f64>; 2]) {
    let SymmetricEigen { eigenvalues, eigenvectors } = SymmetricEigen::new(matrix);
    let (low, high) = (eigenvalues.imin(), eigenvalues.imax());
    let vector = |at: usize| eigenvectors.column(at).into_owned();
    (eigenvalues[high] - eigenvalues[low], [vector(low), vector(high)])
}

/// E (v − mean)⁴ / variance²: 3 for a normal distribution, 1 for two values of equal weight. NaN without variance.
fn kurtosis(values: &DVector<f64>) -> f64 {
    let mean = values.mean();
    let moment =
        |power| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / values.len() as f64;
    moment(4) / moment(2).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values −1, −1, 1, 1 have both moments 1; of 0, 0, 0, 4 they are (3 · 1 + 81) / 4 = 21 and (3 + 9) / 4 = 3.
    #[test]
    fn kurtosis_by_hand() {
        assert_eq!(kurtosis(&DVector::from_vec(vec![-1.0, -1.0, 1.0, 1.0])), 1.0);
        assert!((kurtosis(&DVector::from_vec(vec![0.0, 0.0, 0.0, 4.0])) - 21.0 / 9.0).abs() < 1e-12);
        assert!(kurtosis(&DVector::from_element(3, 1.0)).is_nan());
    }

    /// Domain ±1 in the first coordinate, −2 … 2 in the second; the answer is positive where they agree in sign.
    /// Q = (0, ½E|x₁|; ½E|x₁|, 0), whose eigenvectors are the diagonals. The two-humped direction between them is
    /// the first coordinate. The third coordinate is alternating and says nothing.
    #[test]
    fn the_direction_that_tells_the_domains_is_found() {
        let rows: Vec<[f64; 3]> = (0..40)
            .map(|at| {
                let (domain, alternating) = (f64::from(at % 2 * 2 - 1), f64::from(at / 2 % 2 * 2 - 1));
                [domain, f64::from(at / 4 * 4) / 9.0 - 2.0, 0.5 * alternating]
            })
            .collect();
        let white = DMatrix::from_fn(40, 3, |row, column| rows[row][column]);
        let mut flops = Flops::default();
        let half = |row: usize| if rows[row][0] * rows[row][1] > 0.0 { 0.5 } else { -0.5 };
        let two = DMatrix::from_fn(40, 2, |row, class| if class == 0 { half(row) } else { -half(row) });
        // A first class whose residuals are all alike.
        let three =
            DMatrix::from_fn(40, 3, |row, class| if class == 0 { 0.01 } else { two[(row, class - 1)] });
        for residuals in [two, three] {
            let guess = first_guess(white.columns(0, 3), &residuals, 36, &mut flops);
            assert!((0..40).all(|row| (guess[row] > 0.5) == ((row % 2 == 0) == (guess[0] > 0.5))), "{guess}");
        }
        // One matrix for two classes, three for three; two projections each.
        assert_eq!(flops, Flops(2 * 40 * 9 * 4 + 2 * 2 * 40 * 3 * 2));
    }
}
