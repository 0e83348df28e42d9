//! Products that decide something.

use burn::tensor::Tensor;

#[cfg(feature = "cube")]
mod cube;

/// `x wᵀ` in single precision on every backend. Burn's own products on NVIDIA's tensor cores round what they multiply to TF32, ten bits
/// behind the leading one, with which a token would often go to another expert. The gradients are Burn's own products.
///
/// # Shapes
/// - x: `[rows, width]`
/// - w: `[columns, width]`
/// - output: `[rows, columns]`
///
/// # Panics
/// When the widths differ.
pub fn exact_product(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    let [[_, width], [_, width_of_w]] = [x.dims(), w.dims()];
    assert_eq!(width, width_of_w, "rows of {width} values with rows of {width_of_w}");
    #[cfg(feature = "cube")]
    if [&x, &w].into_iter().all(crate::cube::is_on_cube) {
        return cube::exact_product(x, w);
    }
    x.matmul(w.transpose())
}
