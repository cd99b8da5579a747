"""A grid of models and settings, and the cells that are worth asking."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from ddx.core.registry import EngineKind, Model
from ddx.core.stability import Stability
from ddx.core.summary import Summary

AXES = ("model", "prompt", "setting", "temperature", "top_k", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way to ask. None: the engine has no such setting, or it is left to the provider."""

    model: str
    prompt: int | None = None
    setting: str | None = None
    temperature: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None

    def label(self, varying: Sequence[str]) -> str:
        """Name it by its model and by what differs in its sweep.

        >>> Cell(model="gpt-4o", prompt=1, temperature=0.0).label(["model", "temperature"])
        'gpt-4o temperature=0'
        """
        values = asdict(self)
        said = [
            f"{n}={_said(values[n])}" for n in varying if n != "model" and values[n] is not None
        ]
        return " ".join([self.model, *said])


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is combined. An empty axis leaves each model its own value."""

    models: tuple[str, ...]
    prompts: tuple[int, ...] = ()
    settings: tuple[str, ...] = ()
    temperatures: tuple[float, ...] = ()
    top_ks: tuple[int, ...] = ()
    max_tokens: tuple[int, ...] = ()

    def cells(self, models: Mapping[str, Model], first_prompt: int) -> list[Cell]:
        """Return the cells in order, each once.

        What a model's engine does not read is taken out of its cells, so that a grid over
        temperatures asks the knowledge engine once; what is not named becomes the model's own
        value, so that it stands beside the others. `first_prompt` is the one that a model
        without its own is given. A model that does not exist keeps its cells.

        >>> grid = Grid(models=("knowledge", "llm"), temperatures=(0.0, 0.7))
        >>> known = {"knowledge": Model(name="knowledge", engine=EngineKind.KNOWLEDGE),
        ...     "llm": Model(name="llm", engine=EngineKind.DSPY, top_k=5)}
        >>> [cell.label(["temperature", "top_k"]) for cell in grid.cells(known, 1)]
        ['knowledge', 'llm temperature=0 top_k=5', 'llm temperature=0.7 top_k=5']
        """
        axes = (
            self.models,
            self.prompts or (None,),
            self.settings or (None,),
            self.temperatures or (None,),
            self.top_ks or (None,),
            self.max_tokens or (None,),
        )
        cells = (
            Cell(
                model=model,
                prompt=prompt,
                setting=setting,
                temperature=temperature,
                top_k=top_k,
                max_tokens=max_tokens,
            )
            for model, prompt, setting, temperature, top_k, max_tokens in product(*axes)
        )
        found = (_resolved(cell, models.get(cell.model), first_prompt) for cell in cells)
        return list(dict.fromkeys(found))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Grid:
        """Read what `asdict` gave. Raises TypeError where it is another form."""
        return cls(**{name: tuple(value) for name, value in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A cell and what came of it."""

    cell: Cell
    label: str
    summary: Summary
    stability: Stability | None
    folder: str
    """Of its results, within the sweep's."""
    run_id: str | None = None
    """MLflow's child run; None where it is not there."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx sweep --json` prints it."""
        return {
            "label": self.label,
            **asdict(self.cell),
            **self.summary.all.as_json(),
            "errors": dict(self.summary.errors),
            "cost": asdict(self.summary.cost),
            "stability": self.stability.as_json() if self.stability else None,
            "folder": self.folder,
            "mlflow_run_id": self.run_id,
        }

    def as_row(self) -> dict[str, Any]:
        """Return it as a line of the sweep's CSV."""
        all, cost, stability = self.summary.all, self.summary.cost, self.stability
        estimates = {
            **{f"top_{k}": one for k, one in all.tops.items()},
            "mrr": all.mrr,
            "same_first": stability.first if stability else None,
            "top_5_overlap": stability.overlap if stability else None,
        }
        counts = ("n", "answered", "declined", "failed")
        return {
            **asdict(self.cell),
            **{name: getattr(all, name) for name in counts},
            **{
                f"{name}{end}": getattr(one, part) if one else None
                for name, one in estimates.items()
                for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
            },
            **{name: value for name, value in asdict(cost).items() if name != "total_s"},
        }


def varying(cells: Sequence[Cell]) -> list[str]:
    """Return the axes that have several values; the model is always named.

    >>> varying([Cell(model="a", prompt=1), Cell(model="a", prompt=2), Cell(model="b")])
    ['model', 'prompt']
    >>> varying([Cell(model="a", prompt=1), Cell(model="b")])
    ['model']
    """
    rows = [asdict(cell) for cell in cells]
    values = {axis: {row[axis] for row in rows} - {None} for axis in AXES}
    return [axis for axis in AXES if axis == "model" or len(values[axis]) > 1]


def folder_name(number: int, label: str) -> str:
    """Return the name of a cell's folder; the number, from 1, keeps their order.

    >>> folder_name(3, "local temperature=0.7")
    '03-local-temperature-0.7'
    """
    plain = re.sub(r"[^\w.+]+", "-", label)
    return f"{number:02}-{plain}"


def _resolved(cell: Cell, model: Model | None, first_prompt: int) -> Cell:
    if model is None:
        return cell
    if model.engine is not EngineKind.DSPY:
        reads = model.engine is EngineKind.KNOWLEDGE
        return Cell(model=cell.model, setting=cell.setting if reads else None)
    default = first_prompt if model.prompt is None else model.prompt
    return replace(
        cell,
        prompt=default if cell.prompt is None else cell.prompt,
        # An LLM alone reads no base rates.
        setting=cell.setting if model.knowledge else None,
        temperature=model.temperature if cell.temperature is None else cell.temperature,
        top_k=model.top_k if cell.top_k is None else cell.top_k,
        max_tokens=model.max_tokens if cell.max_tokens is None else cell.max_tokens,
    )


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
