"""Tokens a second that attention allows, where caches of two kinds fill the same memory: DeepSeek 67B's, eight heads of
keys and values, and DeepSeek-V2's, one latent.

    node test/bench/build.mjs BUILD --only throughput
    python3 test/bench/torch_throughput.py BUILD --out OUT [--seconds 2]

One layer's attention is timed on a paged cache of as many sequences as the memory has room for, all layers counted;
a step is as long as that times the layers, and gives each sequence a token. What else a layer does, weights and their
reading, is left out: the figure is what attention alone allows. Writes throughput.json and .md like the other scripts,
and tokens.md with the arithmetic.
"""
import json
import os
import sys

import harness
import torch_decode

PUBLISHED = ("The published 5.76x compares whole systems (V2 in FP8 with caches of 6 bits, on its own lengths of requests, beside 67B); "
             "here both caches are bf16 and only attention runs.")


def tokens_of(row):
    """The arithmetic of a timed case; None where it was not timed."""
    budget, peers = row["budget"], list(row.get("peers", {}).values())
    if not peers:
        return None
    seconds = (peers[0].get("sustained") or peers[0]["burst"])["ours"]
    step = seconds * budget["layers"]
    return dict(budget, batch=row["dims"]["B"], layer=seconds, step=step, tokens=row["dims"]["B"] / step)


def table(found):
    head = found[0]
    lines = [f"# Tokens a second that attention allows, caches filling {head['bytes'] / 2**30:.0f} GiB", "", PUBLISHED, "",
             "| context | model | bytes a token | sequences | one layer | layers | a step | tokens a second | of 67B |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    base = {one["context"]: one["tokens"] for one in found if one["model"] == "67B"}
    for one in found:
        ratio = f"{one['tokens'] / base[one['context']]:.2f}" if one["context"] in base else ""
        lines.append(f"| {one['context']} | {one['model']} | {one['tokenBytes']} | {one['batch']} | {one['layer'] * 1e6:.1f} us | {one['layers']} | "
                     f"{one['step'] * 1e3:.2f} ms | {one['tokens']:.0f} | {ratio} |")
    lines += ["", "sequences = floor(memory / (bytes a token x context)); a step = one layer x layers; tokens a second = sequences / a step."]
    return "\n".join(lines) + "\n"


def main():
    options = harness.arguments(__doc__)
    status = harness.main(["throughput"], torch_decode.work_of, options)
    with open(os.path.join(options.out, "throughput.json"), encoding="utf8") as file:
        found = [one for one in map(tokens_of, json.load(file)["rows"]) if one is not None]
    if found:
        text = table(found)
        with open(os.path.join(options.out, "tokens.md"), "w", encoding="utf8") as file:
            file.write(text)
        print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
