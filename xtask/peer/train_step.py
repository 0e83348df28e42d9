#!/usr/bin/env python3
"""The training step of `moelt bench` in PyTorch, to be timed on the same machine.

The network is moelt's (configs/bench.toml): embedding, layer norm, one residual expert layer with its own layer norm and a
top-k router, mean over the tokens, layer norm, linear map; cross entropy with a load-balancing loss; gradients clipped
outside the embedding; AdamW. A user of PyTorch might write the expert layer in one of three ways; each is timed, and the
fastest is the one to compare with. (Every token through every expert is left out above 16 experts, where it only wastes time.)

    python3 train_step.py --threads 2 --experts 8
    python3 train_step.py --device cuda --experts 64 --d-model 512 --d-ff 1024 --batch 256

prints one JSON object: milliseconds of a step, one figure per repetition, for each way.
"""

import argparse
import json
import math
import time

import torch
import torch.nn.functional as F
from torch import nn


class Experts(nn.Module):
    """`n` feed-forward networks with ReLU, stacked."""

    def __init__(self, n, d_model, d_ff):
        super().__init__()

        def uniform(fan_in, *shape):
            return nn.Parameter((torch.rand(*shape) * 2 - 1) / math.sqrt(fan_in))

        self.w_in, self.b_in = uniform(d_model, n, d_model, d_ff), uniform(d_model, n, 1, d_ff)
        self.w_out, self.b_out = uniform(d_ff, n, d_ff, d_model), uniform(d_ff, n, 1, d_model)

    def one(self, e, x):
        hidden = F.relu(torch.addmm(self.b_in[e], x, self.w_in[e]))
        return torch.addmm(self.b_out[e], hidden, self.w_out[e])

    def all(self, x):
        """x: [experts, rows, d_model]"""
        return torch.baddbmm(self.b_out, F.relu(torch.baddbmm(self.b_in, x, self.w_in)), self.w_out)


def grouped(experts, x, chosen, weights):
    """Pairs sorted by expert, each expert on its stretch."""
    n, k = experts.w_in.shape[0], chosen.shape[1]
    order = chosen.reshape(-1).argsort(stable=True)
    counts = torch.bincount(chosen.reshape(-1), minlength=n).tolist()
    token = order // k
    outputs = [experts.one(e, part) for e, part in enumerate(x.index_select(0, token).split(counts))]
    outputs = torch.cat(outputs) * weights.reshape(-1, 1).index_select(0, order)
    return torch.zeros_like(x).index_add(0, token, outputs)


def padded(experts, x, chosen, weights):
    """Queues as long as the longest, two batched products."""
    n, k, pairs = experts.w_in.shape[0], chosen.shape[1], chosen.numel()
    flat = chosen.reshape(-1)
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=n)
    longest = int(counts.max())
    within = torch.arange(pairs) - (counts.cumsum(0) - counts)[flat[order]]
    place = torch.empty(pairs, dtype=torch.long)
    place[order] = flat[order] * longest + within
    token = torch.zeros(n * longest, dtype=torch.long)
    token[place] = torch.arange(pairs) // k
    queues = x.index_select(0, token).view(n, longest, -1)
    outputs = experts.all(queues).view(n * longest, -1).index_select(0, place).view(*chosen.shape, -1)
    return (outputs * weights.unsqueeze(2)).sum(1)


def everywhere(experts, x, chosen, weights):
    """Every token through every expert."""
    n = experts.w_in.shape[0]
    scatter = torch.zeros(x.shape[0], n).scatter_add(1, chosen, weights)
    outputs = experts.all(x.expand(n, *x.shape))
    return (outputs * scatter.t().unsqueeze(2)).sum(0)


WAYS = {"grouped": grouped, "padded": padded, "everywhere": everywhere}


class Classifier(nn.Module):
    def __init__(self, args, way):
        super().__init__()
        self.way, self.k = WAYS[way], args.top_k
        d = args.d_model
        self.embedding = nn.Embedding(args.vocabulary, d, sparse=args.embedding_update == "lazy")
        self.norm_in, self.norm_experts, self.norm_out = (nn.LayerNorm(d) for _ in range(3))
        self.router = nn.Linear(d, args.experts, bias=False)
        self.experts = Experts(args.experts, d, args.d_ff)
        self.head = nn.Linear(d, 2)

    def forward(self, tokens):
        x = self.norm_in(self.embedding(tokens)).flatten(0, 1)
        y = self.norm_experts(x)
        probs = self.router(y).softmax(1)
        top, chosen = probs.topk(self.k, 1)
        x = x + self.way(self.experts, y, chosen, top / top.sum(1, keepdim=True))
        share = torch.bincount(chosen.reshape(-1), minlength=probs.shape[1]) / chosen.numel()
        balance = probs.shape[1] * (share * probs.mean(0)).sum()
        return self.head(self.norm_out(x.view(*tokens.shape, -1).mean(1))), balance


def optimizers(net, args):
    others = [p for name, p in net.named_parameters() if name != "embedding.weight"]
    adamw = {"lr": 2e-3, "weight_decay": 0.01, "fused": True}
    if args.embedding_update == "lazy":
        return others, [torch.optim.AdamW(others, **adamw), torch.optim.SparseAdam([net.embedding.weight], lr=2e-3)]
    table = {"params": [net.embedding.weight], "weight_decay": 0.0}
    return others, [torch.optim.AdamW([{"params": others}, table], **adamw)]


def time_way(args, way):
    torch.manual_seed(0)
    net = Classifier(args, way)
    clipped, optims = optimizers(net, args)

    def step():
        tokens = torch.randint(0, args.vocabulary, (args.batch, args.tokens))
        logits, balance = net(tokens)
        task = F.cross_entropy(logits, tokens[:, 0] % 2)
        task.item()
        for optim in optims:
            optim.zero_grad()
        (task + 0.01 * balance).backward()
        nn.utils.clip_grad_norm_(clipped, 1.0)
        for optim in optims:
            optim.step()

    for _ in range(10):
        step()
    ms = []
    for _ in range(args.repetitions):
        start = time.perf_counter()
        for _ in range(args.steps):
            step()
        ms.append(1e3 * (time.perf_counter() - start) / args.steps)
    return ms


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"threads": 1, "experts": 8, "vocabulary": 16384, "tokens": 32, "batch": 64, "d_model": 128, "d_ff": 256}
    for name, default in {**sizes, "top_k": 2, "steps": 10, "repetitions": 5}.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    parser.add_argument("--embedding-update", choices=["dense", "lazy"], default="dense")
    parser.add_argument("--device", default="cpu", help="such as cuda; products are in float32 there, too, unless --tf32")
    parser.add_argument("--tf32", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
    ways = [way for way in WAYS if way != "everywhere" or args.experts <= 16]
    print(json.dumps({way: time_way(args, way) for way in ways}))


if __name__ == "__main__":
    main()
