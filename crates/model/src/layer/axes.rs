//! Which parameters of a layer have an expert axis.

use moelt_schema::{ExpertAxis, LayerId};

use super::{MoeLayer, Router};
use crate::init::ExpertPart::{BGate, BIn, BOut, Router as RouterRow, WGate, WIn, WOut};

impl MoeLayer {
    /// Every parameter with an expert axis, for a layer that lies at `path` in its module (`moe`, `blocks.1.moe`) and
    /// is the `layer` of that module's layout: what the module's `expert_axes()` has to list.
    pub fn expert_axes(&self, path: &str, layer: LayerId) -> Vec<ExpertAxis> {
        let [_, d_model, d_ff] = self.experts.w_in.dims();
        let weight = || ExpertAxis::router("router.weight").with_init(RouterRow.init(d_model));
        let router = match &self.router {
            None | Some(Router::Assigned(_)) => vec![],
            Some(Router::TopK(_)) => vec![weight(), ExpertAxis::router_bias("router.bias")],
            Some(Router::TopAny(_)) => vec![weight(), ExpertAxis::other("router.threshold")],
        };
        let experts = [
            ExpertAxis::input("experts.w_in").with_init(WIn.init(d_model)),
            ExpertAxis::input_bias("experts.b_in").with_init(BIn.init(d_model)),
            ExpertAxis::output("experts.w_out").with_init(WOut.init(d_ff)),
            ExpertAxis::output_bias("experts.b_out").with_init(BOut.init(d_ff)),
        ];
        // The last, as the noise of copies is drawn by place.
        let balance = match &self.router {
            Some(Router::TopK(_)) => Some(ExpertAxis::balance_bias("router.balance_bias")),
            Some(Router::TopAny(_) | Router::Assigned(_)) | None => None,
        };
        let gate = self.experts.activation.is_gated().then(|| {
            [
                ExpertAxis::input("experts.w_gate").with_init(WGate.init(d_model)),
                ExpertAxis::input_bias("experts.b_gate").with_init(BGate.init(d_model)),
            ]
        });
        let placed = |axis: ExpertAxis| {
            let param = if path.is_empty() { axis.param } else { format!("{path}.{}", axis.param) };
            ExpertAxis { param, layer, ..axis }
        };
        router
            .into_iter()
            .chain(experts)
            .chain(balance)
            .chain(gate.into_iter().flatten())
            .map(placed)
            .collect()
    }
}
