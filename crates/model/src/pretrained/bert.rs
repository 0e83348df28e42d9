//! The tensors of a BERT (Devlin et al. 2018) by their names, and where each is here. One walk, whichever way they go.

use super::{
    PretrainedEncoder, PretrainedError,
    exchange::{Exchange, Giving, Taking, matrix, norm, transposed, vector},
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
        self.exchange(&mut taking);
        taking.finish()?;
        Ok(self)
    }

    /// The encoder, without the classifier on top, as the `model.safetensors` of Hugging Face's `BertModel`.
    ///
    /// # Panics
    /// When the network is no transformer with learned positions, or has a layer that is not dense.
    pub fn to_bert(&self) -> Vec<u8> {
        let mut giving = Giving::default();
        self.clone().exchange(&mut giving);
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

    fn exchange(&mut self, file: &mut dyn Exchange) {
        self.exchange_embeddings(file);
        assert_eq!(self.attention.len(), self.layers.len(), "a BERT is a transformer");
        for (at, (attention, layer)) in self.attention.iter_mut().zip(&mut self.layers).enumerate() {
            let block = format!("encoder.layer.{at}");
            attention.exchange(file, &format!("{block}.attention"));
            layer.exchange(file, &block);
        }
    }

    fn exchange_embeddings(&mut self, file: &mut dyn Exchange) {
        let ([n_rows, d_model], device) = (self.embedding.table.dims(), self.embedding.table.device());
        let words = to_host(self.embedding.table.val());
        let mut words = file.exchange("embeddings.word_embeddings.weight", &[n_rows, d_model], words);
        // Row 0 stands for padding, and there is none here.
        words[..d_model].fill(0.0);
        self.embedding.table = param(words, [n_rows, d_model], &device);
        let positions = self.positions.as_mut().expect("a BERT has vectors of positions");
        let (name, shape) = ("embeddings.position_embeddings.weight", positions.table.dims());
        let mut table = file.exchange(name, &shape, to_host(positions.table.val()));
        let none = vec![0.0; 2 * d_model];
        let segments = file.exchange("embeddings.token_type_embeddings.weight", &[2, d_model], none);
        for vector in table.chunks_exact_mut(d_model) {
            vector.iter_mut().zip(&segments).for_each(|(value, of_segment)| *value += of_segment);
        }
        positions.table = param(table, shape, &device);
        norm(file, "embeddings.LayerNorm", &mut self.input_norm);
    }
}

impl SelfAttention {
    fn exchange(&mut self, file: &mut dyn Exchange, prefix: &str) {
        let ([d_model, _], device) = (self.w_out.dims(), self.w_out.device());
        let names = ["query", "key", "value"].map(|part| format!("{prefix}.self.{part}"));
        // As PyTorch has them the three lie one below the other.
        let shape = [d_model, 3 * d_model];
        let (weights, biases) = (transposed(&to_host(self.w_in.val()), shape), to_host(self.b_in.val()));
        let (mut new_weights, mut new_biases) = (Vec::new(), Vec::new());
        let parts = weights.chunks_exact(d_model * d_model).zip(biases.chunks_exact(d_model));
        for (name, (weight, bias)) in names.iter().zip(parts) {
            new_weights.extend(file.exchange(
                &format!("{name}.weight"),
                &[d_model, d_model],
                weight.to_vec(),
            ));
            new_biases.extend(file.exchange(&format!("{name}.bias"), &[d_model], bias.to_vec()));
        }
        self.w_in = param(transposed(&new_weights, [3 * d_model, d_model]), shape, &device);
        self.b_in = param(new_biases, [3 * d_model], &device);
        matrix(file, &format!("{prefix}.output.dense.weight"), &mut self.w_out);
        vector(file, &format!("{prefix}.output.dense.bias"), &mut self.b_out);
        norm(file, &format!("{prefix}.output.LayerNorm"), &mut self.norm);
    }
}

impl MoeLayer {
    fn exchange(&mut self, file: &mut dyn Exchange, prefix: &str) {
        let experts = &mut self.experts;
        assert!(self.router.is_none() && experts.w_in.dims()[0] == 1, "layers of a BERT are dense");
        matrix(file, &format!("{prefix}.intermediate.dense.weight"), &mut experts.w_in);
        vector(file, &format!("{prefix}.intermediate.dense.bias"), &mut experts.b_in);
        matrix(file, &format!("{prefix}.output.dense.weight"), &mut experts.w_out);
        vector(file, &format!("{prefix}.output.dense.bias"), &mut experts.b_out);
        norm(file, &format!("{prefix}.output.LayerNorm"), &mut self.norm);
    }
}
