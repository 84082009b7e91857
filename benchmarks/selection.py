"""Tell whether choosing what to transcribe beats chance: two rounds on a real language, by each strategy.

    python benchmarks/selection.py run --corpora ../shared/corpora --work .cache/selection
    python benchmarks/selection.py compare --work .cache/selection
    python benchmarks/selection.py render

`run` prepares a corpus, trains an adapter on a few minutes of it, lets it draft the rest of the training
speech, whose transcripts it does not see, chooses some minutes by a strategy, adds them with their real
transcripts in the place of a person's corrections, and trains anew; then once more. Every training starts
from zero with the same options: the defaults of `mms-adapt train`, or, with `--steps`, so many steps for
every one. All are scored on the same test set. `random` is done with several seeds. Rows are kept in
benchmarks/selection.jsonl; what is there is not done again, and strategies may be run side by side
(`--only`).
`compare` adds what each strategy and each random choice differ by, drawn by utterance.

In: corpora in the layout of `utterances.jsonl`. Out: one line a training, and docs/selecting.md's table. It
does not know how anything is chosen or trained.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mms_adapt.manifest import Utterance
    from mms_adapt.novelty import Pool
    from mms_adapt.prepared import Prepared

ROOT = Path(__file__).parents[1]
ROWS, PAGE = ROOT / "benchmarks" / "selection.jsonl", ROOT / "docs" / "selecting.md"
START, END = "<!-- benchmarks/selection.py -->\n", "<!-- end -->"
ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Target:
    """A language to try it on.

    Attributes:
        folder: Its corpus.
        name: What it is called.
        pool_minutes: Training speech in all; what is chosen comes out of it.
        step_minutes: Training speech to start with, and what each round adds.
    """

    folder: str
    name: str
    pool_minutes: float | None
    step_minutes: float


TARGETS = {
    "mdw": Target("mdw-mboshi", "Mboshi", 60, 5),
    "wol": Target("wol-alffa-subset", "Wolof", None, 4),
}
ARMS = ("mixed", "random-1", "random-2", "random-3", "confidence", "novelty")


@dataclass(frozen=True, slots=True)
class Trial:
    """A language, and how long each training takes.

    Attributes:
        code: A key of `TARGETS`.
        steps: Of each training; None for the defaults.
        work: Folder for data and adapters.
    """

    code: str
    steps: int | None
    work: Path

    @property
    def folder(self) -> Path:
        """Where its trainings are."""
        return self.work / f"{self.code}-{self.steps or 'default'}"

    def rows(self) -> list[dict[str, Any]]:
        """Return its rows that are done."""
        return [one for one in read() if (one["target_lang"], one["steps_asked"]) == (self.code, self.steps)]


def run(trial: Trial, corpora: Path, arms: list[str]) -> None:
    """Do every row of some strategies that is not there yet."""
    import mms_adapt
    from mms_adapt import terminal
    from mms_adapt.prepared import first_minutes

    target, folder = TARGETS[trial.code], trial.work / trial.code
    with terminal.progress() as progress:
        if not (folder / "prepared.json").exists():
            mms_adapt.prepare(
                corpora / target.folder,
                folder,
                target_lang=trial.code,
                train_minutes=target.pool_minutes,
                progress=progress,
            )
        data = mms_adapt.Prepared.load(folder)
        start = first_minutes(data.utterances("train"), target.step_minutes)
        trained(trial, "start", 0, start, data, {})
        for arm in arms:
            used, before = list(start), trial.folder / "start-0"
            for number in range(1, ROUNDS + 1):
                chosen, notes = choose(arm, used, data, before / "adapter", target.step_minutes)
                used += chosen
                before = trial.folder / f"{arm}-{number}"
                trained(trial, arm, number, used, data, notes)


def choose(
    arm: str, used: list[Utterance], data: Prepared, adapter: Path, minutes: float
) -> tuple[list[Utterance], dict[str, Any]]:
    """Choose some minutes of what is not used yet, without a look at its transcripts."""
    import numpy as np

    from mms_adapt.novelty import Candidate, Pool

    ids = {one.id for one in used}
    rest = [one for one in data.utterances("train") if one.id not in ids]
    strategy, _, seed = arm.partition("-")
    if strategy == "random":  # takes no model
        blank = [Candidate(one.id, one.duration_s, (), 1.0) for one in rest]
        picks = Pool(blank, np.ones((len(rest), 1), np.float32)).choose(
            minutes, strategy=strategy, seed=int(seed)
        )
        return [rest[one.place] for one in picks], {}
    pool = pool_at(adapter, tuple(rest), tuple(used), data.root)
    picks = pool.choose(minutes, strategy=strategy)
    held, chance = pool.hold([one.place for one in picks]), pool.by_chance(minutes)
    notes = {
        "pool_minutes": sum(one.duration_s for one in rest) / 60,
        "chosen": dataclasses.asdict(held),
        "by_chance": dataclasses.asdict(chance),
    }
    return [rest[one.place] for one in picks], notes


@functools.cache
def pool_at(adapter: Path, rest: tuple[Utterance, ...], used: tuple[Utterance, ...], root: Path) -> Pool:
    """Let an adapter draft what is not used yet."""
    from mms_adapt.selection import pool_of
    from mms_adapt.transcriber import Transcriber

    return pool_of(rest, root, Transcriber.load(adapter), known=used)


def trained(
    trial: Trial, arm: str, number: int, used: list[Utterance], data: Prepared, notes: dict[str, Any]
) -> None:
    """Train on some utterances and score, unless that is done already."""
    import mms_adapt
    from mms_adapt.prepared import with_training

    if any((row["arm"], row["round"]) == (arm, number) for row in trial.rows()):
        return
    print(f"== {trial.folder.name} {arm} round {number}", flush=True)
    folder = trial.folder / f"{arm}-{number}"
    ids = {one.id for one in used}
    part = with_training(data, [one for one in data.utterances("train") if one.id in ids], folder / "data")
    config = mms_adapt.TrainConfig(
        steps=trial.steps,
        evaluate_steps=trial.steps // 2 if trial.steps else None,
        cache=str(trial.work / f"{trial.code}-cache"),
    )
    result = mms_adapt.train(part, folder / "adapter", config)
    score = mms_adapt.evaluate(folder / "adapter", part, decoder="greedy", json=folder / "score.json")
    row = {
        "target_lang": trial.code,
        "steps_asked": trial.steps,
        "arm": arm,
        "round": number,
        "train_s": round(sum(one.duration_s for one in part.utterances("train")), 1),
        "test_s": round(sum(one.duration_s for one in part.utterances("test")), 1),
        "steps": result.steps,
        "cer": score.cer,
        "cer_interval": [score.cer_interval.low, score.cer_interval.high] if score.cer_interval else None,
        "wer": score.wer,
        "utterances": score.utterances,
        **notes,
        "marks": list(score.marks),
        "signature": score.signature,
    }
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def compare(work: Path) -> None:
    """Add to all rows who spoke, and to those of strategies how random choices of the round differ."""
    import mms_adapt

    rows = read()
    for row in rows:
        folder, number = Trial(row["target_lang"], row["steps_asked"], work).folder, row["round"]
        data = folder / f"{row['arm']}-{number}" / "data"
        if data.exists():
            spoken: Counter[str] = Counter()
            for each in mms_adapt.Prepared.load(data).utterances("train"):
                spoken[str(each.speaker)] += each.duration_s
            row["spoken_s"] = {speaker: round(seconds) for speaker, seconds in spoken.most_common()}
        if row["arm"] == "start" or row["arm"].startswith("random"):
            continue
        mine = folder / f"{row['arm']}-{number}" / "score.json"
        for other in sorted(folder.glob(f"random-*-{number}/score.json")) if mine.exists() else ():
            one = mms_adapt.compare(mine, other).cer_difference
            if one is not None:
                row.setdefault("against", {})[other.parent.name.rpartition("-")[0]] = {
                    "difference": one.rate,
                    "low": one.low,
                    "high": one.high,
                    "p_value": one.p_value,
                }
    ROWS.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read() -> list[dict[str, Any]]:
    """Return the rows that were done."""
    if not ROWS.exists():
        return []
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def render() -> str:
    """Return the tables of all languages that were tried."""
    trials = dict.fromkeys(Trial(row["target_lang"], row["steps_asked"], Path()) for row in read())
    return "\n".join(line for trial in trials for line in table(trial))


def table(trial: Trial) -> Iterator[str]:
    """Yield the lines about one language."""
    mine = trial.rows()
    start = next(row for row in mine if row["arm"] == "start")
    target = TARGETS[trial.code]
    pool = f"{target.pool_minutes:g} minutes" if target.pool_minutes else "all"
    yield f"### {target.name}, {f'{trial.steps} steps a training' if trial.steps else 'default trainings'}"
    yield ""
    yield (
        f"{start['train_s'] / 60:.1f} minutes to start with, CER {percent(start)}; {target.step_minutes:g} "
        f"more a round, out of {pool} of training speech. Test set: {start['utterances']} utterances, "
        f"{start['test_s'] / 60:.1f} minutes; marks: {', '.join(start['marks']) or 'none'}."
    )
    yield ""
    names = [f"round {number}: CER % (95 %)" for number in range(1, ROUNDS + 1)]
    last = "seconds of each speaker | random choices less this, last round (95 %; p)"
    yield "| strategy | " + " | ".join(names) + f" | {last} |"
    yield "|---|" + "---|" * (ROUNDS + 2)
    for arm in ARMS:
        done = {row["round"]: row for row in mine if row["arm"] == arm}
        if done:
            cells = [percent(done[number]) if number in done else "" for number in range(1, ROUNDS + 1)]
            spoken = ", ".join(map(str, done[max(done)].get("spoken_s", {}).values()))
            yield f"| {arm} | {' | '.join(cells)} | {spoken} | {differences(done[max(done)])} |"
    yield ""
    yield "| what was chosen | utterances | mean confidence | new trigrams | distance of sound |"
    yield "|---|---|---|---|---|"
    for row in mine:
        if "chosen" in row:
            for name, one in ((row["arm"], row["chosen"]), ("by chance", row["by_chance"])):
                yield (
                    f"| {name}, round {row['round']} | {one['utterances']:.0f} | {one['confidence']:.2f} | "
                    f"{one['trigrams']:.0f} | {one['sound']:.2f} |"
                )
    yield ""


def differences(row: dict[str, Any]) -> str:
    """Return how much higher the error rate of each random choice is."""
    return "; ".join(
        f"{100 * one['difference']:+.1f} ({100 * one['low']:+.1f} to {100 * one['high']:+.1f}; "
        f"p {one['p_value']:.3f})"
        for _, one in sorted(row.get("against", {}).items())
    )


def percent(row: dict[str, Any]) -> str:
    """Return a row's character error rate in percent with its interval."""
    low, high = row["cer_interval"]
    return f"**{100 * row['cer']:.1f}** ({100 * low:.1f} to {100 * high:.1f})"


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="do the rows that are not there yet")
    one.add_argument("--corpora", type=Path, required=True)
    one.add_argument("--target-lang", choices=sorted(TARGETS), default="mdw")
    one.add_argument("--steps", type=int, help="so many steps for every training, instead of the defaults")
    one.add_argument("--only", nargs="*", default=list(ARMS), choices=ARMS)
    two = commands.add_parser("compare", help="add the differences between strategies")
    for command in (one, two):
        command.add_argument("--work", type=Path, default=Path(".cache/selection"))
    commands.add_parser("render", help="write the tables into docs/selecting.md")
    options = parser.parse_args()
    if options.command == "run":
        trial = Trial(options.target_lang, options.steps, options.work)
        run(trial, options.corpora, options.only)
    elif options.command == "compare":
        compare(options.work)
    else:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        PAGE.write_text(before + START + render() + rest[rest.index(END) :], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
