"""How the survey's time grows with the number of layers: a traced eager Llama, where every layer asks for the same sizes.

    python tests/bench/survey_scaling.py build/release/flashconvert [--layers 6 24 96]

Prints the seconds of each stage and the survey's per layer. The model's widths are small: what is timed is the graph.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import warnings

import torch
import transformers


class Decoder(torch.nn.Module):
    def __init__(self, layers: int):
        super().__init__()
        config = transformers.LlamaConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=64, max_position_embeddings=64, torchscript=True, attn_implementation="eager",
        )  # fmt: skip
        self.model = transformers.LlamaModel(config)

    def forward(self, ids, mask):
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 24, 96])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("layers  sites fused  survey s  s a layer  rewrite s")
    with tempfile.TemporaryDirectory() as folder:
        for layers in arguments.layers:
            source, report = pathlib.Path(folder, f"{layers}.pt"), pathlib.Path(folder, "report.json")
            inputs = (torch.randint(0, 60, (2, 9)), torch.ones(2, 9, dtype=torch.long))
            torch.jit.trace(Decoder(layers).eval(), inputs, strict=False, check_trace=False).save(source)
            command = [arguments.program, source, "--dry-run", "--quiet", "--report", report, "--force"]
            subprocess.run(command, check=True)
            found = json.loads(report.read_text())
            fused = sum(site["status"] == "fused" for site in found["attention"])
            seconds = found["seconds"]
            print(
                f"{layers:6}  {fused:11}  {seconds['survey']:8.2f}  {seconds['survey'] / layers:9.4f}"
                f"  {seconds['rewrite']:9.2f}"
            )


if __name__ == "__main__":
    main()
