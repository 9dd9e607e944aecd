#!/usr/bin/env python3
"""Our WGSL kernels beside PyTorch, on the same machine, in one command.

    python3 bench/gpu_against_torch.py

It runs `deno task bench --only webgpu --json`, measures the same products and
the same steps in PyTorch, and prints how many times as fast we are (below 1:
as slow). It needs deno, and a PyTorch that sees the GPU (CUDA, ROCm, XPU or
MPS); it installs nothing. What is compared:

- Products: a cube of the same edge, with operands that lie as ours do. f32 is
  f32: PyTorch is kept from rounding to TF32. In f16 PyTorch multiplies on
  matrix units where the GPU has them; WGSL cannot reach those yet. Ours are
  timed by the GPU's own clock where it has one, PyTorch's by the host's, over
  many runs that are asked for at once.
- Steps: a model of the same sizes, four micro-batches forward and backward, one
  step of AdamW. f16 is autocast over f32 weights, as our 16-bit copies of the
  weights are. Ours also brings the sum of the gradients to the host and back,
  since hosts have to exchange it; PyTorch's stays where it is.

It judges nothing and writes no file.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

ROUNDS = 5
ROUND_SECONDS = 0.3
ROUND_RUNS_MAX = 256


def main() -> None:
    """Measures both sides and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="PyTorch on the CPU, to try this script without a GPU")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that everything works")
    parser.add_argument("--rows", type=Path, help="rows that `deno task bench --only webgpu --json` has printed")
    options = parser.parse_args()

    device = "cpu" if options.cpu else find_device()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    print(f"PyTorch {torch.__version__} on {describe(device)}", file=sys.stderr)

    lines = options.rows.read_text() if options.rows else measure_ours(options.quick)
    rows = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    rounds = 1 if options.quick else ROUNDS
    measured = {}
    print(f"{'':64} {'ours':>12} {'PyTorch':>12}  {'unit':10} ours / PyTorch")
    for row in rows:
        subject = row.get("subject")
        if subject is None:
            continue
        # Every adapter of ours is compared with the same figure.
        key = json.dumps({name: value for name, value in subject.items() if name != "source"})
        if key not in measured:
            measured[key] = MEASURES[subject["kind"]](device, subject, rounds)
        theirs = measured[key]
        print(
            f"{row['name']:64} {row['value']:12.4g} {theirs:12.4g}  {row['unit']:10} {row['value'] / theirs:.3f}",
            flush=True,
        )
    if not measured:
        sys.exit("Cannot compare: the benchmark measured nothing, as no adapter was found")


def find_device() -> str:
    """What PyTorch calls the machine's GPU."""
    if torch.cuda.is_available():  # ROCm calls itself so, too
        return "cuda"
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return "xpu"
    if torch.backends.mps.is_available():
        return "mps"
    sys.exit("Cannot compare: PyTorch finds no GPU; --cpu tries the script without one")


def describe(device: str) -> str:
    """Name of the GPU, where PyTorch knows it."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def measure_ours(quick: bool) -> str:
    """JSON lines of our benchmark; what it says to people goes to standard error."""
    command = ["deno", "task", "bench", "--only", "webgpu", "--json", *(["--quick"] if quick else [])]
    root = Path(__file__).resolve().parent.parent
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout


def wait(device: str) -> None:
    """Returns when all that was asked of the device is done."""
    if device != "cpu":
        getattr(torch, device).synchronize()


def seconds_of(device: str, run, rounds: int, runs_max: int = ROUND_RUNS_MAX) -> float:
    """Median over rounds of as many runs as make waiting for them cost little."""

    def time_of(runs: int) -> float:
        wait(device)
        start = time.perf_counter()
        for _ in range(runs):
            run()
        wait(device)
        return time.perf_counter() - start

    time_of(2)  # finds memory, and chooses kernels
    once = time_of(1)
    runs = max(1, min(runs_max, round(ROUND_SECONDS / max(once, 1e-6))))
    return statistics.median(time_of(runs) / runs for _ in range(rounds))


def product(device: str, subject: dict, rounds: int) -> float:
    """GFLOP/s of a cube."""
    edge = subject["edge"]
    kind = torch.float16 if subject["precision"] == "f16" else torch.float32
    left = torch.randn(edge, edge, device=device, dtype=kind)
    right = torch.randn(edge, edge, device=device, dtype=kind)
    runs = {
        "linear": lambda: left @ right.T,
        "linearInputGradient": lambda: left @ right,
        "linearWeightGradient": lambda: left.T @ right,
    }
    return 2 * edge**3 / seconds_of(device, runs[subject["op"]], rounds) / 1e9


class Layer(nn.Module):
    """One layer of the Llama family."""

    def __init__(self, width: int, heads: int, hidden: int, length: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)
        half = width // heads // 2
        angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(half) / half)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def split(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, T, C]` as `[B, H, T, D]`."""
        return state.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def turned(self, state: torch.Tensor) -> torch.Tensor:
        """Rotary positions: halves of a head are the parts of complex numbers."""
        first, second = state.chunk(2, dim=-1)
        parts = (first * self.cosine - second * self.sine, first * self.sine + second * self.cosine)
        return torch.cat(parts, dim=-1).to(state.dtype)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, T, C]` → `[B, T, C]`."""
        normed = self.norms[0](state)
        query, key = (self.turned(self.split(part(normed))) for part in (self.query, self.key))
        value = self.split(self.value(normed))
        seen = functional.scaled_dot_product_attention(query, key, value.to(query.dtype), is_causal=True)
        state = state + self.out(seen.transpose(1, 2).flatten(2))
        normed = self.norms[1](state)
        return state + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class Model(nn.Module):
    """Embedding, layers and head, as a run of one stage has them."""

    def __init__(self, subject: dict):
        super().__init__()
        width, vocabulary = subject["width"], subject["vocabulary"]
        self.embedding = nn.Embedding(vocabulary, width)
        layer = (width, subject["heads"], subject["hidden"], subject["length"])
        self.layers = nn.ModuleList(Layer(*layer) for _ in range(subject["layers"]))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sum of the losses; each token is its own target, as in our benchmark."""
        state = self.embedding(tokens)
        for layer in self.layers:
            state = layer(state)
        logits = self.head(self.norm(state))
        return functional.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), reduction="sum")


def step(device: str, subject: dict, rounds: int) -> float:
    """Tokens per second of whole optimizer steps."""
    model = Model(subject).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    shape = (subject["sequences"], subject["length"])
    batches = [
        torch.randint(subject["vocabulary"], shape, device=device) for _ in range(subject["microBatches"])
    ]
    halves = subject["precision"] == "f16"
    tokens = len(batches) * shape[0] * shape[1]

    def run() -> None:
        for batch in batches:
            with torch.autocast(device, torch.float16, enabled=halves):
                loss = model(batch) / tokens
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return tokens / seconds_of(device, run, rounds, runs_max=8)


MEASURES = {"product": product, "step": step}

if __name__ == "__main__":
    main()
