//! The tensors of a BERT (Devlin et al. 2018) by their names, and where each is here. One walk, whichever way they go.

use super::{
    PretrainedEncoder, PretrainedError,
    file::{Giving, Taking, TensorFile, matrix, norm, transposed, vector},
};
use crate::{Classifier, MoeLayer, SelfAttention, host::to_host, init::param};

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
        let mut taking = Taking::from(encoder);
        self.walk_bert(&mut taking);
        taking.finish()?;
        Ok(self)
    }

    /// The encoder, without the classifier on top, as the `model.safetensors` of Hugging Face's `BertModel`.
    ///
    /// # Panics
    /// When the network is no transformer with learned positions, or has a layer that is not dense.
    pub fn to_bert(&self) -> Vec<u8> {
        let mut giving = Giving::default();
        self.clone().walk_bert(&mut giving);
        giving.into_bytes()
    }

    /// The classifier on top, as the `model.safetensors` of a PyTorch module with a `linear`: `linear.weight`
    /// `[n_classes, d_pooled]` and `linear.bias`.
    pub fn head_to_linear(&self) -> Vec<u8> {
        let mut giving = Giving::default();
        let mut head = self.head.clone();
        matrix(&mut giving, "linear.weight", &mut head.weight);
        head.bias.iter_mut().for_each(|bias| vector(&mut giving, "linear.bias", bias));
        giving.into_bytes()
    }

    fn walk_bert(&mut self, file: &mut dyn TensorFile) {
        self.walk_embeddings(file);
        assert_eq!(self.attention.len(), self.layers.len(), "a BERT is a transformer");
        for (at, (attention, layer)) in self.attention.iter_mut().zip(&mut self.layers).enumerate() {
            let block = format!("encoder.layer.{at}");
            attention.walk_bert(file, &format!("{block}.attention"));
            layer.walk_bert(file, &block);
        }
    }

    fn walk_embeddings(&mut self, file: &mut dyn TensorFile) {
        let table = &mut self.embedding.table;
        let shape = table.dims();
        let words = file.tensor("embeddings.word_embeddings.weight", &shape, &|| to_host(table.val()));
        if let Some(mut words) = words {
            // Row 0 stands for padding, and there is none here.
            words[..shape[1]].fill(0.0);
            *table = param(words, shape, &table.device());
        }
        let positions = self.positions.as_mut().expect("a BERT has vectors of positions");
        let (shape, here) = (positions.table.dims(), || to_host(positions.table.val()));
        let table = file.tensor("embeddings.position_embeddings.weight", &shape, &here);
        let none = || vec![0.0; 2 * shape[1]];
        let segments = file.tensor("embeddings.token_type_embeddings.weight", &[2, shape[1]], &none);
        if let (Some(mut table), Some(segments)) = (table, segments) {
            for vector in table.chunks_exact_mut(shape[1]) {
                vector.iter_mut().zip(&segments).for_each(|(value, of_segment)| *value += of_segment);
            }
            positions.table = param(table, shape, &positions.table.device());
        }
        norm(file, "embeddings.LayerNorm", &mut self.input_norm);
    }
}

impl SelfAttention {
    fn walk_bert(&mut self, file: &mut dyn TensorFile, prefix: &str) {
        self.walk_heads(file, &format!("{prefix}.self"));
        matrix(file, &format!("{prefix}.output.dense.weight"), &mut self.w_out);
        vector(file, &format!("{prefix}.output.dense.bias"), &mut self.b_out);
        norm(file, &format!("{prefix}.output.LayerNorm"), &mut self.norm);
    }

    /// Queries, keys and values stand side by side here, and one below the other where matrices lie as PyTorch has them.
    fn walk_heads(&mut self, file: &mut dyn TensorFile, prefix: &str) {
        let ([d_model, width], device) = (self.w_in.dims(), self.w_in.device());
        let (weights, biases) =
            (transposed(&to_host(self.w_in.val()), [d_model, width]), to_host(self.b_in.val()));
        let square = d_model * d_model;
        let (mut taken_weights, mut taken_biases) = (Vec::new(), Vec::new());
        for (at, part) in ["query", "key", "value"].into_iter().enumerate() {
            let weight = || weights[at * square..][..square].to_vec();
            let bias = || biases[at * d_model..][..d_model].to_vec();
            let (shape, name) = ([d_model, d_model], format!("{prefix}.{part}"));
            taken_weights.extend(file.tensor(&format!("{name}.weight"), &shape, &weight));
            taken_biases.extend(file.tensor(&format!("{name}.bias"), &[d_model], &bias));
        }
        if let [query, key, value] = &taken_weights[..] {
            let below = [&query[..], key, value].concat();
            self.w_in = param(transposed(&below, [width, d_model]), [d_model, width], &device);
        }
        if let [query, key, value] = &taken_biases[..] {
            self.b_in = param([&query[..], key, value].concat(), [width], &device);
        }
    }
}

impl MoeLayer {
    fn walk_bert(&mut self, file: &mut dyn TensorFile, prefix: &str) {
        let experts = &mut self.experts;
        assert!(self.router.is_none() && experts.w_in.dims()[0] == 1, "layers of a BERT are dense");
        assert!(!experts.activation.is_gated(), "hidden units of a BERT have no gates");
        matrix(file, &format!("{prefix}.intermediate.dense.weight"), &mut experts.w_in);
        vector(file, &format!("{prefix}.intermediate.dense.bias"), &mut experts.b_in);
        matrix(file, &format!("{prefix}.output.dense.weight"), &mut experts.w_out);
        vector(file, &format!("{prefix}.output.dense.bias"), &mut experts.b_out);
        norm(file, &format!("{prefix}.output.LayerNorm"), &mut self.norm);
    }
}
