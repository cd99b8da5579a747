"""How often a small model on this machine comes to an answer or an honest refusal.

Fifty short cases of our own go through `ddx serve` to the model that `ddx up --local-llm` serves.
What it says is medically worthless; counted is how it comes back: an answer, too little detail,
or a failure with its code.

    python -m bench.local_model [--cases 50]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from bench.load import free_port, process
from bench.tracking import QUIET
from ddx.adapters import local_llm

COMPLAINTS = (
    "fever for 3 days with headache and a rash",
    "burning when passing urine for 2 days",
    "pain in the right lower belly since last night, with vomiting",
    "cough for 4 weeks, weight loss and night sweats",
    "sudden weakness of the left arm and a crooked face for 1 hour",
    "swollen legs and breathlessness when lying flat",
    "a snake bite on the foot an hour ago, drooping eyelids",
    "itching between the fingers at night, as at home all have it",
    "watery diarrhoea ten times since morning, cramps in the legs",
    "pressing chest pain for 30 minutes with sweating",
)
PATIENTS = (
    "A man of 24 has {}.",
    "A 61-year-old woman comes with {}.",
    "8 year old boy, {}. No known illness before.",
    "Pregnant woman of 29 years: {}. Temperature 37.9 C, pulse 96.",
    "Old farmer, age not known, says he has {}. He denies a cough. Blood pressure 150/95.",
)
CASES = [patient.format(complaint) for complaint in COMPLAINTS for patient in PATIENTS]


def post(url: str, case: str) -> tuple[int, dict[str, Any], float]:
    body = json.dumps({"case": case, "top_differential": 2}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=600) as reply:
            status, text = reply.status, reply.read()
    except urllib.error.HTTPError as refused:
        status, text = refused.code, refused.read()
    return status, json.loads(text), time.perf_counter() - began


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", type=int, default=len(CASES))
    asked = options.parse_args()
    if lacking := local_llm.missing():
        sys.exit(f"error: this needs {lacking}\nadvice: {local_llm.INSTALL}")
    with tempfile.TemporaryDirectory(prefix="ddx-bench-") as name:
        home, port, llm = Path(name), free_port(), free_port()
        (home / "ddx.toml").write_text(
            f"default_model = 'local'\nport = {port}\nlog_level = 'error'\n"
            f"tracking_uri = 'http://127.0.0.1:{free_port()}'\n"
            f"[models.local]\napi_base = 'http://127.0.0.1:{llm}/v1'\nmax_tokens = 2600\n"
            "timeout_s = 600\n"
        )
        serve = [sys.executable, "-m", "ddx", "serve", "--no-deliverer"]
        environment = QUIET | {"DDX_HOME": str(home)}
        model = local_llm.command(llm)
        url = f"http://127.0.0.1:{port}"
        with (
            process(model, f"http://127.0.0.1:{llm}/health", {}, home / "llm.log"),
            process(serve, f"{url}/readyz", environment, home / "serve.log"),
        ):
            replies = []
            for number, case in enumerate(CASES[: asked.cases], start=1):
                replies.append(post(f"{url}/predict/v1", case))
                status, body, took = replies[-1]
                print(number, status, body.get("code") or body["data"]["outcome"], f"{took:.1f} s")
    report(replies)


def report(replies: list[tuple[int, dict[str, Any], float]]) -> None:
    outcomes = Counter(
        body["data"]["outcome"] if status == 200 else f"{status} {body['code']}"
        for status, body, _ in replies
    )
    good = outcomes["answered"] + outcomes["insufficient_information"]
    seconds = [took for _, _, took in replies]
    print(f"{good} of {len(replies)} cases got an answer or an honest refusal: {dict(outcomes)}")
    print(f"median {statistics.median(seconds):.0f} s a case, longest {max(seconds):.0f} s")
    sys.exit(0 if good == len(replies) else 1)


if __name__ == "__main__":
    main()
