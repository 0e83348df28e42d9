//! The tensors of a BERT (Devlin et al. 2018) by their names, and where they go.

use burn::tensor::Device;

use super::{PretrainedEncoder, PretrainedError, Taking};
use crate::{Classifier, LayerNorm, MoeLayer, PositionEmbedding, SelfAttention, init::param};

impl Classifier {
    /// The same network with the weights of a pretrained encoder: embeddings, attention, feed-forward networks and norms. The
    /// classifier on top stays as it is. The vector of the first of two segments is part of the vectors of positions here: a text
    /// has one segment.
    ///
    /// # Errors
    /// When a tensor is missing, has another shape, or has no place here; all of them are named.
    ///
    /// # Panics
    /// When the network is no transformer with learned positions, or has a layer that is not dense.
    pub fn with_pretrained(mut self, encoder: &PretrainedEncoder) -> Result<Self, PretrainedError> {
        let (mut taking, device) = (Taking::from(encoder), self.embedding.table.device());
        self.take_embeddings(&mut taking, &device);
        assert_eq!(self.attention.len(), self.layers.len(), "a pretrained encoder is a transformer");
        for (at, (attention, layer)) in self.attention.iter_mut().zip(&mut self.layers).enumerate() {
            let block = format!("encoder.layer.{at}");
            attention.take(&mut taking, &format!("{block}.attention"), &device);
            layer.take(&mut taking, &block, &device);
        }
        taking.finish()?;
        Ok(self)
    }

    fn take_embeddings(&mut self, taking: &mut Taking<'_>, device: &Device) {
        let [n_rows, d_model] = self.embedding.table.dims();
        let mut words = taking.take("embeddings.word_embeddings.weight", &[n_rows, d_model]);
        // Row 0 stands for padding, and there is none here.
        words[..d_model].fill(0.0);
        self.embedding.table = param(words, [n_rows, d_model], device);
        let positions = self.positions.as_ref().expect("a pretrained encoder has vectors of positions");
        let shape = positions.table.dims();
        let mut table = taking.take("embeddings.position_embeddings.weight", &shape);
        let segments = taking.take("embeddings.token_type_embeddings.weight", &[2, d_model]);
        for vector in table.chunks_exact_mut(d_model) {
            vector.iter_mut().zip(&segments).for_each(|(value, of_segment)| *value += of_segment);
        }
        self.positions = Some(PositionEmbedding { table: param(table, shape, device) });
        take_norm(&mut self.input_norm, taking, "embeddings.LayerNorm", device);
    }
}

impl SelfAttention {
    fn take(&mut self, taking: &mut Taking<'_>, prefix: &str, device: &Device) {
        let [d_model, _] = self.w_out.dims();
        let names = ["query", "key", "value"].map(|part| format!("{prefix}.self.{part}"));
        let parts = names
            .each_ref()
            .map(|name| taking.take_transposed(&format!("{name}.weight"), [d_model, d_model]));
        let side_by_side: Vec<f32> = (0..d_model)
            .flat_map(|row| parts.iter().flat_map(move |part| &part[row * d_model..][..d_model]))
            .copied()
            .collect();
        self.w_in = param(side_by_side, [d_model, 3 * d_model], device);
        let biases: Vec<f32> =
            names.iter().flat_map(|name| taking.take(&format!("{name}.bias"), &[d_model])).collect();
        self.b_in = param(biases, [3 * d_model], device);
        let output = format!("{prefix}.output.dense");
        let weight = taking.take_transposed(&format!("{output}.weight"), [d_model, d_model]);
        self.w_out = param(weight, [d_model, d_model], device);
        self.b_out = param(taking.take(&format!("{output}.bias"), &[d_model]), [d_model], device);
        take_norm(&mut self.norm, taking, &format!("{prefix}.output.LayerNorm"), device);
    }
}

impl MoeLayer {
    fn take(&mut self, taking: &mut Taking<'_>, prefix: &str, device: &Device) {
        let [n_experts, d_model, d_ff] = self.experts.w_in.dims();
        assert!(self.router.is_none() && n_experts == 1, "layers of a pretrained encoder are dense");
        let (into, out) = (format!("{prefix}.intermediate.dense"), format!("{prefix}.output.dense"));
        let w_in = taking.take_transposed(&format!("{into}.weight"), [d_model, d_ff]);
        let w_out = taking.take_transposed(&format!("{out}.weight"), [d_ff, d_model]);
        self.experts.w_in = param(w_in, [1, d_model, d_ff], device);
        self.experts.b_in = param(taking.take(&format!("{into}.bias"), &[d_ff]), [1, d_ff], device);
        self.experts.w_out = param(w_out, [1, d_ff, d_model], device);
        self.experts.b_out = param(taking.take(&format!("{out}.bias"), &[d_model]), [1, d_model], device);
        take_norm(&mut self.norm, taking, &format!("{prefix}.output.LayerNorm"), device);
    }
}

fn take_norm(norm: &mut Option<LayerNorm>, taking: &mut Taking<'_>, name: &str, device: &Device) {
    let norm = norm.as_mut().expect("every norm of a BERT is there");
    let width = norm.gamma.dims();
    norm.gamma = param(taking.take(&format!("{name}.weight"), &width), width, device);
    norm.beta = param(taking.take(&format!("{name}.bias"), &width), width, device);
}
