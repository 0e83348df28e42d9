//! Attention of the tokens of a sequence to one another.

use burn::tensor::Tensor;

pub(crate) mod composed;
#[cfg(feature = "flex")]
mod fused;

/// Multi-head scaled dot-product attention within sequences that lie end to end (Vaswani et al. 2017): no token sees one of
/// another sequence. For each head `softmax(Q Kᵀ / √d_head) V` with the rows of its sequence.
///
/// What becomes of a token does not depend on the other sequences, to the bit in the fused form.
///
/// # Shapes
/// - qkv: `[n_tokens, 3 · d_model]`: queries, keys and values side by side, heads of `d_model / n_heads` side by side in each
/// - lengths: tokens of each sequence, end to end
/// - output: `[n_tokens, d_model]`, heads side by side
///
/// # Panics
/// When the width is not that of three times `n_heads` heads, or the lengths do not add up to the tokens.
pub fn self_attention(qkv: Tensor<2>, lengths: &[usize], n_heads: usize) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::extension::is_fused(&qkv) {
        check(&qkv, lengths, n_heads);
        return fused::self_attention(qkv, lengths, n_heads);
    }
    composed::self_attention(qkv, lengths, n_heads)
}

/// Refuses what does not fit.
fn check(qkv: &Tensor<2>, lengths: &[usize], n_heads: usize) {
    let ([tokens, width], all) = (qkv.dims(), lengths.iter().sum::<usize>());
    assert!(
        n_heads > 0 && width > 0 && width.is_multiple_of(3 * n_heads),
        "queries, keys and values of {n_heads} heads in a width of {width}"
    );
    assert_eq!(tokens, all, "sequences of {all} tokens in a tensor of {tokens}");
}
